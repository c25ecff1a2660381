"""`AlfworldEnv`: Gymnasium's signatures over the engines."""

from pathlib import Path

import pytest

import agentprm_dagster.envs.alfworld
from agentprm_dagster.envs.alfworld import AlfworldEnv
from agentprm_dagster.envs.alfworld.errors import GamesNotFoundError
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.gym_env import NoEpisodeError, UnknownGameError
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.playable import PlayableGame


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("games")
    generate_games(folder, seed=2, counts={"train": 6, "valid_seen": 3, "valid_unseen": 3}, size="small")
    return folder


def test_an_expert_plays_as_on_the_engine(household_games: list[PlayableGame]) -> None:
    env = AlfworldEnv(games=[game.ref for game in household_games])  # type: ignore[misc]
    for game in household_games:
        environment, expert = game.environment(), game.expert("handcoded", 0)
        assert isinstance(environment, Household)
        seen, total, ended = environment.reset(), 0.0, False
        text, info = env.reset(options={"game": game.id})
        while not ended:
            assert (text, info["admissible_commands"]) == (seen.text, list(seen.commands))
            command = expert.act(seen)
            seen = environment.step(command)
            text, reward, ended, cut, info = env.step(command)
            total += reward
            assert not cut
        assert (seen.done, total, info["won"], info["game"], info["task_type"]) == (True, 1.0, True, game.id, game.kind)


def test_games_come_sorted_and_seeds_count_through_them(root: Path) -> None:
    env = AlfworldEnv("train", root)
    assert list(env.games) == sorted(env.games)
    assert len(env.games) == 6

    def told(**options: int) -> str:
        return env.reset(**options)[1]["game"]

    assert [told() for _ in range(8)] == [*env.games, *env.games[:2]]
    assert [told(seed=seed) for seed in (4, 0, 6, -1)] == [env.games[i] for i in (4, 0, 0, 5)]
    assert told() == env.games[0], "the one behind the last"
    assert env.reset(seed=3) == AlfworldEnv("train", str(root)).reset(seed=3)


def test_every_split_that_is_there_is_played(root: Path) -> None:
    assert len(AlfworldEnv(root=root).games) == 12
    with pytest.raises(GamesNotFoundError, match="games generate"):
        AlfworldEnv("train", root / "nowhere")
    with pytest.raises(GamesNotFoundError, match="at least one game"):
        AlfworldEnv(games=())


def test_a_step_limit_cuts(root: Path) -> None:
    env = AlfworldEnv("train", root, max_steps=2)
    env.reset()
    assert env.step("dance")[:4] == ("Nothing happens.", 0.0, False, False)
    assert env.step("look")[2:4] == (False, True)
    with pytest.raises(NoEpisodeError, match="before the command 'look': it needs an episode, and that of train/"):
        env.step("look")
    env.reset()
    assert env.step("look")[2:4] == (False, False)
    unlimited = AlfworldEnv("train", root)
    unlimited.reset()
    assert not any(unlimited.step("look")[3] for _ in range(100))


def test_what_is_asked_wrongly_is_named(root: Path) -> None:
    env = AlfworldEnv("train", root)
    with pytest.raises(NoEpisodeError, match="none was begun"):
        env.step("look")
    with pytest.raises(UnknownGameError, match=r"expected one of 6 games, by its id such as 'train/.*got 'nosuch'"):
        env.reset(options={"game": "nosuch"})
    with pytest.raises(ValueError, match=r"expected no options but .*got level"):
        env.reset(options={"level": 1})
    with pytest.raises(ValueError, match="max_steps of at least 1"):
        AlfworldEnv("train", root, max_steps=0)
    with pytest.raises(ValueError, match="engine household or stock"):
        AlfworldEnv("train", root, engine="fast")
    with pytest.raises(ValueError, match="expected a split"):
        AlfworldEnv("valid", root)
    with pytest.raises(AttributeError, match="has no attribute 'Env'"):
        _ = agentprm_dagster.envs.alfworld.Env


def test_the_stock_engine_plays_alike(root: Path) -> None:
    with AlfworldEnv("train", root, engine="stock") as stock:
        ours = AlfworldEnv("train", root)
        for seed in (0, 1):
            assert stock.reset(seed=seed) == ours.reset(seed=seed)
            assert stock.step("look") == ours.step("look")
    with pytest.raises(NoEpisodeError, match="none was begun"):
        stock.step("look")
