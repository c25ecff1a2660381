"""A sample of the parity benchmark, and that it notices when engines differ."""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.games import GAMES_FOLDER, find_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.drawing import sample_tasks
from agentprm_dagster.episodes.records import Observation
from benchmarks.parity_episodes import compare, compare_games
from benchmarks.parity_walks import WALKS, Walk, Walker


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("games")
    generate_games(root, seed=5, counts={"train": 6}, size="small")
    return [game.path for game in find_games(root, "train")]


@pytest.fixture(scope="module")
def real() -> list[Path]:
    root = Path(os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser()
    if not (root / GAMES_FOLDER / "valid_seen").is_dir():
        pytest.skip(f"no real ALFWorld games in {root}; set ALFWORLD_DATA")
    return [game.path for game in sample_tasks(find_games(root, "valid_seen"), 2, seed=0)]


def test_generated_games_play_alike_on_the_stock_engine(generated: list[Path]) -> None:
    played = list(compare_games(generated, episodes=len(WALKS), steps=15, seed=1, memoised=True))
    assert [one.difference for one in played] == [None] * 30
    assert {one.walk for one in played} == set(WALKS) and len({one.task_type for one in played}) == 6


def test_real_games_play_alike_on_the_stock_engine(real: list[Path]) -> None:
    played = list(compare_games(real, episodes=len(WALKS), steps=20, seed=2, memoised=True))
    assert [one.difference for one in played] == [None] * 10


@pytest.mark.parametrize("games", ["generated", "real"])
def test_the_stock_engine_as_it_ships_plays_as_the_memoised_one(games: str, request: pytest.FixtureRequest) -> None:
    game = request.getfixturevalue(games)[:1]
    plain, memoised = (
        list(compare_games(game, episodes=1, steps=15, seed=3, memoised=memoised)) for memoised in (False, True)
    )
    assert plain == memoised and plain[0].difference is None and len(plain[0].commands) == 15


class Liar(Household):
    """Says at the third step that the game is won."""

    def reset(self) -> Observation:
        self.steps = 0
        return super().reset()

    def step(self, command: str) -> Observation:
        self.steps += 1
        return replace(super().step(command), reward=float(self.steps == 3))


def test_a_difference_is_reported_where_it_first_shows(generated: list[Path]) -> None:
    game = Game.load(generated[0])
    one = compare(game, Liar(game), "random", steps=10, rng=random.Random(0))
    assert len(one.commands) == 3 and one.difference == "reward: household 0.0, stock 1.0"


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_depends_only_on_its_seed(generated: list[Path], walk: Walk) -> None:
    game = Game.load(generated[0])
    first, again, other = (compare(game, Household(game), walk, 30, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again and first.commands != other.commands


def test_the_walks_that_know_the_way_win_and_the_wrong_one_errs(generated: list[Path]) -> None:
    games = [Game.load(path) for path in generated]
    for walk in ("walkthrough", "expert"):
        wins = [compare(game, Household(game), walk, 60, random.Random(0)).won for game in games]
        assert sum(wins) > len(games) / 2
    game = games[0]
    choose = Walker("wrong", game, random.Random(0))
    household = Household(game)
    answers = [household.step(choose(household.snapshot().observation)).text for _ in range(100)]
    assert 40 < answers.count("Nothing happens.") < 90
