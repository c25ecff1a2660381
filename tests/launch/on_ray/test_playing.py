"""Games played by a real Ray cluster of two nodes: the same as on one machine, also when nodes are lost."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentprm_dagster.cluster.connection import ClusterError
from agentprm_dagster.config import PlayingCompute, Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch import pool
from agentprm_dagster.launch.on_ray.playing import RayPlayers
from agentprm_dagster.launch.play import Choice, Play, Valued
from agentprm_dagster.launch.pool import play_in_shards
from agentprm_dagster.launch.processes import Processes
from agentprm_dagster.workers import WorkerError
from clusters import Cluster, cluster
from plays import play_of

pytestmark = pytest.mark.ray

ON_RAY = RayPlayers(PlayingCompute(launch="ray"))
BRANCHED = Rollouts(per_game=2, max_steps=4, branch_states=1, branch_actions=2, slots=3)


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture
def plays(
    taught_folder: Path, household_games: list[PlayableGame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Play]:
    """Twelve games in shards of two: with branches, and Best-of-2 by a PRM."""
    monkeypatch.setattr(pool, "SHARD_GAMES", 2)
    prm = tmp_path / "prm"
    checkpoints.save(checkpoints.prm_from_policy(taught_folder, seed=1), checkpoints.load_tokenizer(taught_folder), prm)
    judged = BRANCHED.model_copy(update={"per_game": 1, "branch_states": 0})
    return {
        "branched": play_of(taught_folder, BRANCHED, household_games, seed=2),
        "judged": play_of(
            taught_folder,
            judged,
            household_games,
            seed=1,
            choice=Choice("prm", prm, best_of=2),
            valued_by=Valued(prm, observations=True),
        ),
    }


def files(scratch: Path) -> dict[str, bytes]:
    return {path.relative_to(scratch).as_posix(): path.read_bytes() for path in scratch.rglob("*.parquet")}


def test_a_cluster_plays_what_one_machine_does(two_nodes: Cluster, plays: dict[str, Play], tmp_path: Path) -> None:
    here = play_in_shards(plays, Processes(1, threads=1), scratch=tmp_path / "here", monitor=SilentMonitor())
    there = play_in_shards(plays, ON_RAY, scratch=tmp_path / "there", monitor=SilentMonitor())
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert len(files(tmp_path / "here")) == 2 * 12 + 6
    assert {name: one.usage.tokens for name, one in there.items()} == {n: one.usage.tokens for n, one in here.items()}


def test_what_goes_wrong_on_a_node_is_told(two_nodes: Cluster, plays: dict[str, Play], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}", encoding="utf-8")
    play = play_of(broken, BRANCHED, [PlayableGame(game) for game in plays["branched"].games])
    with pytest.raises(ClusterError, match=r"a task failed on the node 127\.0\.0\.[23]: (.|\n)*CheckpointError"):
        play_in_shards({"": play}, ON_RAY, scratch=tmp_path / "scratch", monitor=SilentMonitor())


def test_a_node_without_memory_is_told(plays: dict[str, Play], tmp_path: Path) -> None:
    with (
        cluster(1, RAY_memory_usage_threshold="0.001", RAY_memory_monitor_refresh_ms="50", RAY_task_oom_retries="0"),
        pytest.raises(ClusterError, match="no memory left for a task"),
    ):
        play_in_shards(plays, ON_RAY, scratch=tmp_path / "scratch", monitor=SilentMonitor())


class AtFirst(SilentMonitor):
    """Does something when the first shards are played."""

    def __init__(self, scratch: Path, what: Callable[[], None]) -> None:
        self._scratch, self._what, self.done = scratch, what, False

    def progress(self, done: int, total: int, what: str) -> None:
        if not self.done and len(list(self._scratch.glob("play*/????/usage.json"))) >= 2:
            self.done = True
            self._what()


def test_a_node_that_is_killed_changes_nothing(plays: dict[str, Play], tmp_path: Path) -> None:
    here = play_in_shards(plays, Processes(1, threads=1), scratch=tmp_path / "here", monitor=SilentMonitor())
    with cluster() as started:
        killing = AtFirst(tmp_path / "there", started.nodes[1].kill)
        there = play_in_shards(plays, ON_RAY, scratch=tmp_path / "there", monitor=killing)
    assert killing.done
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert {name: one.usage.tokens for name, one in there.items()} == {n: one.usage.tokens for n, one in here.items()}


def test_a_head_that_is_killed_loses_nothing_that_was_played(plays: dict[str, Play], tmp_path: Path) -> None:
    scratch = tmp_path / "there"
    with cluster() as started:
        killing = AtFirst(scratch, started.nodes[0].kill)
        with pytest.raises((ClusterError, WorkerError), match=r"was lost itself|the process of .*playing ended"):
            play_in_shards(plays, ON_RAY, scratch=scratch, monitor=killing)
    kept = {path: path.stat().st_mtime_ns for path in scratch.rglob("usage.json")}
    assert 2 <= len(kept) < 12
    play_in_shards(plays, Processes(1, threads=1), scratch=scratch, monitor=SilentMonitor())
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(files(scratch)) == 2 * 12 + 6


def test_no_cluster_is_an_error_in_words(
    plays: dict[str, Play], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ClusterError, match="RAY_ADDRESS names no cluster: start one with `ray start --head`"):
        play_in_shards(plays, ON_RAY, scratch=tmp_path / "scratch", monitor=SilentMonitor())
