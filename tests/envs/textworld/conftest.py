"""A few small games of every kind and split, made once."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.envs.textworld.kind import KIND
from agentprm_dagster.envs.textworld.playable import PlayableGame
from agentprm_dagster.envs.textworld.settings import Settings

FEW = Settings(train=6, valid_seen=3, valid_unseen=3)
SEED = 7


@pytest.fixture(scope="session")
def few() -> Settings:
    return FEW


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that they were made in. Not to be written to."""
    folder = tmp_path_factory.mktemp("textworld")
    KIND.task_set(FEW, seed=SEED, folder=folder).tasks("train")
    return folder


@pytest.fixture(scope="session")
def refs(made: Path) -> Sequence[TaskRef]:
    """All of them, train first."""
    tasks = KIND.task_set(FEW, seed=SEED, folder=made)
    return [ref for split in ("train", *KIND.splits) for ref in tasks.tasks(split)]


@pytest.fixture(scope="session")
def games(refs: Sequence[TaskRef]) -> list[PlayableGame]:
    """All of them, opened."""
    return [PlayableGame(ref) for ref in refs]


@pytest.fixture(scope="session")
def cooking(games: list[PlayableGame]) -> PlayableGame:
    return next(game for game in games if game.kind == "cooking")


@pytest.fixture(scope="session")
def coin(games: list[PlayableGame]) -> PlayableGame:
    return next(game for game in games if game.kind == "coin_collector")
