"""Worker processes: the same episodes however many there are, their progress in sum, their failures in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.agents.best_of_n import BestOfN
from agentprm_dagster.config import Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch import pool
from agentprm_dagster.launch.pool import Played, Task, play_in_processes
from agentprm_dagster.launch.worker import Player, ready
from agentprm_dagster.rollouts.rollout import collect_rollouts
from agentprm_dagster.workers import WorkerError

ONCE = Rollouts(per_game=1, temperature=0, max_steps=5, branch_states=0, slots=3)
BRANCHED = Rollouts(per_game=2, max_steps=4, branch_states=1, branch_actions=2, slots=3)


class Listening:
    """A monitor that remembers what it was told last of everything."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[int, int]] = {}

    def progress(self, done: int, total: int, what: str) -> None:
        self.told[what] = done, total

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        raise AssertionError("playing has no metrics")


@pytest.fixture(scope="module")
def prm_folder(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prm")
    tokenizer = checkpoints.load_tokenizer(taught_folder)
    checkpoints.save(checkpoints.prm_from_policy(taught_folder, seed=1), tokenizer, folder)
    return folder


@pytest.fixture
def tasks(
    taught_folder: Path, prm_folder: Path, household_games: list[PlayableGame], monkeypatch: pytest.MonkeyPatch
) -> list[Task]:
    """Twelve games in shards of four: greedy, Best-of-N, and with branches."""
    monkeypatch.setattr(pool, "SHARD_GAMES", 5)
    games = tuple(game.ref for game in household_games)
    judged = ONCE.model_copy(update={"temperature": 1.0})
    return [
        Task("greedy", Player(taught_folder, "alfworld", "append", ONCE), games, 0),
        Task("judged", Player(taught_folder, "alfworld", "append", judged, prm_folder, best_of=3), games, 1),
        Task("branched", Player(taught_folder, "alfworld", "append", BRANCHED), games, 2),
    ]


def played(tasks: list[Task], processes: int, scratch: Path, monitor: Listening) -> list[Played]:
    scratch.mkdir()
    return play_in_processes(tasks, processes=processes, threads=1, scratch=scratch, monitor=monitor)


def tokens(played: list[Played]) -> list[tuple[int, int]]:
    return [(one.usage.tokens_read, one.usage.tokens_drawn) for one in played]


def test_the_number_of_processes_does_not_change_what_is_played(tasks: list[Task], tmp_path: Path) -> None:
    monitor = Listening()
    by_one = played(tasks, 1, tmp_path / "alone", monitor)
    by_two = played(tasks, 2, tmp_path / "together", Listening())
    assert tokens(by_one) == tokens(by_two)
    alone = [one.episodes for one in by_one]
    assert alone == [one.episodes for one in by_two]
    assert [len(episodes) for episodes in alone[:2]] == [12, 12]
    assert len(alone[2]) > 24
    assert {episode.start > 0 for episode in alone[2]} == {True, False}
    branches = len(alone[2]) - 24
    assert {what: told for what, told in monitor.told.items() if "states" not in what} == {
        "greedy episodes": (12, 12),
        "judged episodes": (12, 12),
        "branched episodes": (24, 24),
        "branched branch episodes": (branches, branches),
    }


def test_an_agent_has_all_the_settings_of_its_player(taught_folder: Path, prm_folder: Path) -> None:
    how = ONCE.model_copy(update={"temperature": 1.3, "slots": 5})
    player = Player(taught_folder, "alfworld", "append", how, prm_folder, best_of=3, prior=0.5)
    agent = ready(player, seed=0)
    assert isinstance(agent, BestOfN)
    assert (agent.n, agent.prior, agent.temperature, agent.slots) == (3, 0.5, 1.3, 5)


def test_a_worker_plays_as_this_process_would(
    tasks: list[Task], household_games: list[PlayableGame], tmp_path: Path
) -> None:
    (there,) = played(tasks[:1], 2, tmp_path / "scratch", Listening())
    agent: Any = ready(tasks[0].player, seed=9)
    here = collect_rollouts(
        agent,
        household_games,
        per_game=1,
        max_steps=5,
        branch_states=0,
        branch_actions=0,
        branch_continuations=1,
        branch_temperature=1,
        seed=9,
        monitor=SilentMonitor(),
    )
    assert there.episodes == here, "greedy: whatever the shards and the seed"
    drawn = sum(len(agent.chat.answer(turn.response)) for episode in here for turn in episode.turns)
    assert there.usage.tokens_drawn == agent.usage.tokens_drawn
    assert 0 < agent.usage.tokens_drawn <= drawn, "an answer that was cut has no end token"
    assert agent.usage.environment_seconds > 0


def test_shards_are_even_and_have_seeds_of_their_own(tasks: list[Task], tmp_path: Path) -> None:
    shards = pool._shards(tasks[2], tmp_path / "shards")
    assert [len(shard.games) for shard in shards] == [4, 4, 4]
    assert [game for shard in shards for game in shard.games] == list(tasks[2].games)
    assert [shard.seed for shard in shards] == [2, 3, 4]


def test_shards_that_were_played_are_not_played_again(
    tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = played(tasks[:2], 1, tmp_path / "calm", Listening())

    class Killed(Listening):
        """Ends the first attempt in its third shard."""

        def progress(self, done: int, total: int, what: str) -> None:
            if len(list((tmp_path / "scratch").rglob("usage.json"))) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        played(tasks[:2], 1, tmp_path / "scratch", Killed())
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "scratch").rglob("usage.json")}
    assert len(kept) == 2
    (tmp_path / "scratch" / "task1" / "0002.part").mkdir()
    again = play_in_processes(tasks[:2], processes=1, threads=1, scratch=tmp_path / "scratch", monitor=Listening())
    assert [one.episodes for one in again] == [one.episodes for one in calm]
    assert tokens(again) == tokens(calm)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_what_a_worker_died_of_is_told(tasks: list[Task], tmp_path: Path) -> None:
    missing = Task("", Player(tmp_path / "nowhere", "alfworld", "append", ONCE), tasks[0].games, 0)
    with pytest.raises(WorkerError, match=r"before its work was done; it said:\n(.|\n)*nowhere"):
        played([missing], 2, tmp_path / "scratch", Listening())
