"""Which games an experiment plays."""

from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.envs.alfworld.errors import GamesNotFoundError
from agentprm_dagster.envs.alfworld.settings import Settings
from agentprm_dagster.resources.tasks import TasksResource

SMALL = Settings(train=24, valid_seen=12, valid_unseen=12)


@pytest.fixture
def games(home: Path) -> TasksResource:
    return TasksResource()


def test_generated_games_are_made_once(games: TasksResource) -> None:
    first = games.train(SMALL, 0)[0].path
    made = first.stat().st_mtime_ns
    assert games.train(SMALL, 0)[0].path == first
    assert first.stat().st_mtime_ns == made
    assert games.train(SMALL, 1)[0].path.parents[3] != first.parents[3]


def test_splits_have_the_sizes_asked_for(games: TasksResource) -> None:
    assert len(games.train(SMALL, 0)) == 24
    assert len(games.split(SMALL, 0, "valid_seen", None)) == len(games.split(SMALL, 0, "valid_unseen", None)) == 12
    assert len(games.split(SMALL, 0, "valid_seen", 5)) == 5


def test_held_out_rooms_are_never_trained_on(games: TasksResource) -> None:
    real = Settings(train=None, valid_seen=12, valid_unseen=12, held_out_rooms=0.3, source="alfworld")
    root = games.train(SMALL, 0)[0].path.parents[4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALFWORLD_DATA", str(root))
        train: Any = games.train(real, 0)
        held_out: Any = games.split(real, 0, "train_held_out", None)
        assert games.split(real, 1, "train_held_out", None) == held_out, "the same whatever the seed"
        others = [games.split(real.model_copy(update={"held_out_seed": i}), 0, "train_held_out", None) for i in (1, 2)]
    assert {held_out} != {*others}
    assert len(train) + len(held_out) == 24
    assert held_out
    assert not {game.room for game in train} & {game.room for game in held_out}


def test_generated_games_stand_beside_real_ones_in_train_alone(
    games: TasksResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(games.train(SMALL, 0)[0].path.parents[4]))
    real = Settings(source="alfworld", train=None, valid_seen=None, valid_unseen=12, held_out_rooms=0.3)
    both = real.model_copy(update={"size": "varied", "beside": 12})
    train, more = games.train(real, 0), games.train(both, 0)
    assert {*train} < {*more}
    assert len(more) == len(train) + 12
    assert list(more) == sorted(more, key=lambda game: game.id)
    assert games.split(both, 0, "train_held_out", None) == games.split(real, 0, "train_held_out", None)
    few = both.model_copy(update={"train": 6})
    assert few.counts["train"] == len(games.train(few, 0)) == 18
    assert len({*games.train(few, 0)} & {*train}) == 6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beside": 12}, "beside: 12 are trained on beside real games"),
        ({"size": "varied"}, "of size: varied every game has a room of its own: set valid_seen to null"),
    ],
)
def test_what_generated_games_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(**settings)


def test_draws_depend_on_the_seed_alone(games: TasksResource) -> None:
    first = games.explored(SMALL, 0, 6, order=1)
    assert first == games.explored(SMALL, 0, 6, order=1) == games.demonstrated(SMALL, 0, 6, order=1)
    assert first != games.explored(SMALL, 0, 6, order=2)
    assert len(set(first)) == 6
    assert len(games.explored(SMALL, 0, None, order=1)) == len(games.explored(SMALL, 0, 1000, order=1)) == 24


@pytest.mark.parametrize(("share", "shown"), [(0.25, 6), (0.001, 1), (0.999, 23)])
def test_what_is_demonstrated_is_not_explored(games: TasksResource, share: float, shown: int) -> None:
    parted = SMALL.model_copy(update={"demonstrated": share})
    demonstrated, explored = games.demonstrated(parted, 0, None, order=1), games.explored(parted, 0, None, order=1)
    assert (len(demonstrated), len(explored)) == (shown, 24 - shown)
    assert {*demonstrated, *explored} == {*games.train(parted, 0)}
    # The parts are the experiment's: another iteration, with another seed, explores the same ones.
    assert {*games.explored(parted, 0, None, order=2)} == {*explored}


def test_a_single_game_cannot_be_parted(games: TasksResource) -> None:
    alone = Settings(train=1, valid_seen=None, valid_unseen=1, demonstrated=0.5)  # an experiment that has it is refused
    with pytest.raises(ValueError, match=r"environment\.demonstrated is 0\.5: expected at least two training tasks"):
        games.explored(alone, 0, None, order=1)


def test_missing_real_games_are_told(games: TasksResource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    with pytest.raises(GamesNotFoundError, match="agentprm games download"):
        games.train(Settings(source="alfworld"), 0)
