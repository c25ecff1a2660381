"""Ways to go through a game, for comparing engines: each is a stream of commands, some of them wrong on purpose.

They know nothing of an engine's insides, only what it answers, the names in the house, and the walkthrough.
"""

import random
from collections.abc import Callable
from typing import Literal, get_args

from agentprm_dagster.envs.alfworld.experts import HandcodedExpert
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.base import ExpertGaveUp
from agentprm_dagster.episodes.records import Observation

Walk = Literal["random", "verbs", "walkthrough", "expert", "wrong"]
"""How commands are chosen: any admissible one; any verb and then any of its commands, so that rare ones are met; the
walkthrough with detours and ways back; alfworld's handcoded expert, corrected; mostly commands that are not admissible.
All err now and then."""
WALKS: tuple[Walk, ...] = get_args(Walk)

_ERRORS: dict[Walk, float] = {"random": 0.05, "verbs": 0.05, "walkthrough": 0.1, "expert": 0.1, "wrong": 0.7}
_DETOURS = 0.3

_Way = Callable[[Observation, str | None, random.Random], str]
"""From what was observed, and the command that was played for it, to the next command."""


class Walker:
    """One walk through one game, its choices drawn from `rng`. Called with each observation, answers the command."""

    def __init__(self, walk: Walk, game: Game, rng: random.Random) -> None:
        ways: dict[Walk, Callable[[], _Way]] = {
            "random": lambda: _any_command,
            "verbs": lambda: _any_verb,
            "walkthrough": lambda: _Guide(game),
            "expert": lambda: _Searcher(game, rng),
            "wrong": lambda: _any_command,
        }
        self._way = ways[walk]()
        self._errors = _ERRORS[walk]
        self._game = game
        self._rng = rng
        self._played: str | None = None

    def __call__(self, observation: Observation) -> str:
        command = self._way(observation, self._played, self._rng)
        if self._rng.random() < self._errors:
            command = _mistake(command, self._game, self._rng)
        self._played = command
        return command


def _any_command(observation: Observation, _played: str | None, rng: random.Random) -> str:
    return rng.choice(observation.commands)


def _any_verb(observation: Observation, _played: str | None, rng: random.Random) -> str:
    verb = rng.choice(sorted({command.split()[0] for command in observation.commands}))
    return rng.choice([command for command in observation.commands if command.split()[0] == verb])


class _Guide:
    """Follows the walkthrough; strays at times, and finds back."""

    def __init__(self, game: Game) -> None:
        self.walkthrough = game.walkthrough
        self.followed = 0

    def __call__(self, observation: Observation, _played: str | None, rng: random.Random) -> str:
        admissible = observation.commands
        if self.followed == len(self.walkthrough) or rng.random() < _DETOURS:
            return rng.choice([command for command in admissible if not command.startswith(("take", "move"))])
        if self.walkthrough[self.followed] in admissible:
            self.followed += 1
            return self.walkthrough[self.followed - 1]
        ways_back = [c for c in self.walkthrough[: self.followed] if c in admissible and c.startswith(("go", "open"))]
        return ways_back[-1] if ways_back else rng.choice(admissible)


class _Searcher:
    """Asks the expert until it gives up, and then plays anything."""

    def __init__(self, game: Game, rng: random.Random) -> None:
        self.expert: HandcodedExpert | None = HandcodedExpert(game, seed=rng.getrandbits(32), corrected=True)

    def __call__(self, observation: Observation, played: str | None, rng: random.Random) -> str:
        if self.expert:
            try:
                return self.expert.act(observation, played)
            except ExpertGaveUp:
                self.expert = None
        return rng.choice(observation.commands)


def _mistake(command: str, game: Game, rng: random.Random) -> str:
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
