"""The environment: the household engine against the stock one, and against a step that does nothing."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.stock import StockEngine
from agentprm_dagster.episodes.records import Observation
from benchmarks.measure import RUNS, Row, compare, rate, seconds, summarise
from benchmarks.workload import games

GAMES, STEPS = 4, 25
"""Games, and steps a game, that both engines play in a run."""
REPEATS = 100
"""How often the fast engine does the same work, so that there is something to measure."""


def run() -> list[Row]:
    """Steps, resets, and snapshots a second; both engines on one core."""
    paths = [ref.path for ref in games("train")[:GAMES]]
    loaded = [Game.load(path) for path in paths]
    walks = [random_walk(Household(game), STEPS, seed) for seed, game in enumerate(loaded)]
    houses = [Household(game) for game in loaded]
    stepped, started, read = [], [], []
    for stock in stock_rates(paths, walks):
        stepped.append((rate(lambda: play(houses, walks)), stock.steps))
        started.append((rate(lambda: reset(houses)), stock.resets))
        read.append((rate(lambda: load(paths)), stock.resets))
    return [
        summarise("step", "1/s", stepped, limit=rate(do_nothing)),
        summarise("reset", "1/s", started),
        summarise("reset, its file read anew", "1/s", read),
        compare("snapshot and restore", "1/s", lambda: snapshots(houses[0])),
    ]


@dataclass(frozen=True)
class StockRates:
    """What the stock engine does a second."""

    steps: float
    resets: float


def stock_rates(paths: Sequence[Path], walks: Sequence[Sequence[str]]) -> Iterator[StockRates]:
    """The stock engine as it ships, run after run; starting its process is not counted."""
    with StockEngine(paths[0], games_per_worker=len(paths) * RUNS + 1) as engine:
        engine.reset()
        for _ in range(RUNS):
            yield _stock_run(engine, paths, walks)


def _stock_run(engine: StockEngine, paths: Sequence[Path], walks: Sequence[Sequence[str]]) -> StockRates:
    reset = step = 0.0
    for path, walk in zip(paths, walks, strict=True):
        engine.load(path)
        reset += seconds(engine.reset)
        step += seconds(lambda walk=walk: [engine.step(command) for command in walk])
    return StockRates(sum(map(len, walks)) / step, len(paths) / reset)


def random_walk(house: Household, steps: int, seed: int) -> list[str]:
    """Commands of which one in ten cannot be done; none that wins, for a game that is won goes no further."""
    rng, walk = random.Random(seed), list[str]()
    observation = house.reset()
    while len(walk) < steps:
        before = house.snapshot()
        command = "dance" if rng.random() < 0.1 else rng.choice(observation.admissible_commands)
        observation = house.step(command)
        if observation.done:
            observation = house.restore(before)
        else:
            walk.append(command)
    return walk


def play(houses: Sequence[Household], walks: Sequence[Sequence[str]]) -> float:
    """Plays every walk many times from the start."""
    for _ in range(REPEATS):
        for house, walk in zip(houses, walks, strict=True):
            house.reset()
            for command in walk:
                house.step(command)
    return REPEATS * sum(map(len, walks))


def reset(houses: Sequence[Household]) -> float:
    """Starts every game many times."""
    for _ in range(REPEATS):
        for house in houses:
            house.reset()
    return REPEATS * len(houses)


def load(paths: Sequence[Path]) -> float:
    """Starts every game as if it had never been played: reads its file."""
    for path in paths:
        Household(Game.load(path))
    return len(paths)


def snapshots(house: Household) -> float:
    """Goes away from a state and returns to it."""
    for _ in range(10_000):
        house.restore(house.snapshot())
    return 10_000


class _Nothing:
    """An environment whose step costs what calling it costs."""

    def __init__(self) -> None:
        self._observation = Observation("Nothing happens.", (), reward=0.0, done=False)

    def step(self, command: str) -> Observation:
        return self._observation


def do_nothing() -> float:
    """The limit of any engine called from Python."""
    environment = _Nothing()
    for _ in range(100_000):
        environment.step("look")
    return 100_000
