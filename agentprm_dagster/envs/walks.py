"""Ways to wander through a game, for comparing engines: each is a stream of commands, some of them wrong on purpose.

They know nothing of an engine's insides, only what it admits, the names in the house, and the walkthrough.
"""

import random
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from agentprm_dagster.envs.game_file import Game

Walk = Literal["random", "verbs", "walkthrough", "wrong"]
"""How commands are chosen: any admissible one; any verb and then any of its commands, so that rare ones are met; the
walkthrough with detours and ways back; mostly commands that are not admissible. All err now and then."""
WALKS: tuple[Walk, ...] = get_args(Walk)

Choose = Callable[[Sequence[str]], str]
"""From the admissible commands to the next command."""

_ERRORS: dict[Walk, float] = {"random": 0.05, "verbs": 0.05, "walkthrough": 0.1, "wrong": 0.7}
_DETOURS = 0.3


def chooser(walk: Walk, game: Game, rng: random.Random) -> Choose:
    """A fresh walk through a game, its choices drawn from `rng`."""
    choices: dict[Walk, Choose] = {
        "random": rng.choice,
        "wrong": rng.choice,
        "verbs": lambda admissible: _any_verb(admissible, rng),
        "walkthrough": _Guide(game.walkthrough, rng),
    }
    choose = choices[walk]

    def err_now_and_then(admissible: Sequence[str]) -> str:
        command = choose(admissible)
        return _slip(command, game, rng) if rng.random() < _ERRORS[walk] else command

    return err_now_and_then


def _any_verb(admissible: Sequence[str], rng: random.Random) -> str:
    verb = rng.choice(sorted({command.split()[0] for command in admissible}))
    return rng.choice([command for command in admissible if command.split()[0] == verb])


class _Guide:
    """Follows the walkthrough; strays at times, and finds back."""

    def __init__(self, walkthrough: Sequence[str], rng: random.Random) -> None:
        self.walkthrough = walkthrough
        self.rng = rng
        self.followed = 0

    def __call__(self, admissible: Sequence[str]) -> str:
        if self.followed == len(self.walkthrough) or self.rng.random() < _DETOURS:
            return self.rng.choice([command for command in admissible if not command.startswith(("take", "move"))])
        if self.walkthrough[self.followed] in admissible:
            self.followed += 1
            return self.walkthrough[self.followed - 1]
        ways_back = [c for c in self.walkthrough[: self.followed] if c in admissible and c.startswith(("go", "open"))]
        return ways_back[-1] if ways_back else self.rng.choice(admissible)


def _slip(command: str, game: Game, rng: random.Random) -> str:
    """A command gone wrong. It may be admissible all the same: both engines strip the space around a command."""
    things, receptacles = sorted(game.house.thing_numbers), sorted(game.house.receptacle_numbers)
    thing, other, receptacle = rng.choice(things), rng.choice(things), rng.choice(receptacles)
    return rng.choice(
        [
            f"  {command}\n",
            command.upper(),
            command.capitalize(),
            command.replace(" ", "  ", 1),
            f"{command}.",
            command[: rng.randrange(len(command))],
            command.replace("1", "97"),
            rng.choice(["", " ", "\t", "xyzzy", "go", "go to", "go to loc 1", "nothing", "héllo", '"look"']),
            f"go to {receptacle}",
            f"take {thing} from {receptacle}",
            f"move {thing} to {receptacle}",
            f"put {thing} in/on {receptacle}",
            f"{rng.choice(['heat', 'cool', 'clean'])} {thing} with {receptacle}",
            f"{rng.choice(['open', 'close', 'examine'])} {receptacle}",
            f"{rng.choice(['use', 'examine'])} {thing}",
            f"slice {thing} with {other}",
        ]
    )
