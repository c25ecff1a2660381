"""The stock engine in its process: that it answers, is replaced, ends, and says what went wrong."""

import os
import signal
from pathlib import Path

import pytest

from agentprm_dagster.envs.alfworld.errors import EngineError
from agentprm_dagster.envs.alfworld.games import find_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.stock import StockEngine


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("games")
    generate_games(root, seed=3, counts={"train": 6}, size="small")
    return [game.path for game in find_games(root, "train")]


def pid(engine: StockEngine) -> int:
    assert engine._worker
    return engine._worker.pid


def is_running(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def test_a_game_is_played_quietly_and_its_process_ends_with_the_context(
    games: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    with StockEngine(games[0]) as engine:
        first = engine.reset()
        assert first.text.startswith("-= Welcome to TextWorld, ALFRED! =-")
        assert not first.won and not first.done
        assert engine.step("dance").text == "Nothing happens."
        assert engine.step("look").admissible_commands == first.admissible_commands
        assert engine.reset() == first
        process = pid(engine)
    assert not is_running(process)
    assert capfd.readouterr() == ("", "")


def test_the_process_is_replaced_after_its_games_and_plays_others(games: list[Path]) -> None:
    with StockEngine(games[0], memoised=True, games_per_worker=2) as engine:
        first = engine.reset()
        process = pid(engine)
        engine.load(games[1])
        other = engine.reset()
        assert pid(engine) == process and other.text != first.text
        engine.load(games[0])
        assert engine.reset() == first
        assert pid(engine) != process and not is_running(process)


def test_a_process_that_dies_is_named_and_replaced_by_reset(games: list[Path]) -> None:
    with StockEngine(games[0], memoised=True) as engine:
        first = engine.reset()
        os.kill(pid(engine), signal.SIGKILL)
        with pytest.raises(EngineError, match=r"process ended on .*'look'.*killed by signal 9") as error:
            engine.step("look")
        assert str(games[0]) in str(error.value)
        assert engine.reset() == first


def test_a_step_needs_a_reset(games: list[Path]) -> None:
    with pytest.raises(EngineError, match="expected a reset before the command 'look'"):
        StockEngine(games[0]).step("look")


def test_a_game_that_alfworld_does_not_collect_is_refused(games: list[Path], tmp_path: Path) -> None:
    alone = tmp_path / "game.tw-pddl"
    alone.write_bytes(games[0].read_bytes())
    with StockEngine(alone, memoised=True) as engine, pytest.raises(EngineError, match=r"needs `traj_data\.json`"):
        engine.reset()
