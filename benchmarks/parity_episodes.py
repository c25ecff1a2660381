"""Do the two engines play alike? The same commands on both, compared byte for byte at every step."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.stock import StockEngine
from agentprm_dagster.envs.alfworld.tasks import TaskType
from agentprm_dagster.envs.base import Environment
from agentprm_dagster.episodes.records import Observation
from benchmarks.parity_walks import WALKS, Walk, Walker

_STEPS_AFTER_THE_END = 2


@dataclass(frozen=True, slots=True)
class Comparison:
    """One episode played on both engines."""

    game: Path
    task_type: TaskType
    walk: Walk
    commands: tuple[str, ...]
    """What was played, up to the first difference."""
    won: bool
    difference: str | None
    """How the engines' answers to the last command differ; None where they never did."""


def compare_games(
    games: Sequence[Path], *, episodes: int, steps: int, seed: int, memoised: bool
) -> Iterator[Comparison]:
    """Plays each game `episodes` times on the household engine and on the stock one, up to `steps` commands each.

    The walks take turns. Depends only on the games and the seed. `memoised` takes the stock engine's faster form,
    see `envs/alfworld/memoised.py`.
    """
    with StockEngine(games[0], memoised=memoised) as stock:
        for path in games:
            stock.load(path)
            game = Game.load(path)
            for episode in range(episodes):
                rng = random.Random(f"{seed} {path.parent.name} {episode}")
                yield compare(game, stock, WALKS[episode % len(WALKS)], steps, rng)


def compare(game: Game, stock: Environment, walk: Walk, steps: int, rng: random.Random) -> Comparison:
    """Plays one episode on both engines: until they differ, shortly after the game's end, or for `steps` commands."""
    choose = Walker(walk, game, rng)
    household = Household(game)
    ours, theirs = household.reset(), stock.reset()
    commands: list[str] = []
    left = steps
    while ours == theirs and left > 0:
        commands.append(choose(ours))
        ours, theirs = household.step(commands[-1]), stock.step(commands[-1])
        left = min(left - 1, _STEPS_AFTER_THE_END) if ours.done else left - 1
    return Comparison(game.path, game.task_type, walk, tuple(commands), ours.won, _difference(ours, theirs))


def _difference(ours: Observation, theirs: Observation) -> str | None:
    for field in fields(Observation):
        our_value, their_value = getattr(ours, field.name), getattr(theirs, field.name)
        if our_value != their_value:
            return f"{field.name}: household {our_value!r}, stock {their_value!r}"
    return None
