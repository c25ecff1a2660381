"""Worker processes: the same episodes however many there are, their progress in sum, their failures in words."""

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.agents.best_of_n import BestOfN
from agentprm_dagster.config import Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.vllm import kind as vllm
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch import pool
from agentprm_dagster.launch.play import Choice, Play, Valued
from agentprm_dagster.launch.pool import Played, play_in_shards
from agentprm_dagster.launch.processes import Processes
from agentprm_dagster.launch.worker import Shard, ready
from agentprm_dagster.rollouts.collect import collect_rollouts
from agentprm_dagster.workers import WorkerError
from plays import play_of
from vllm_stub import served_by, stub

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
def plays(
    taught_folder: Path, prm_folder: Path, household_games: list[PlayableGame], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Play]:
    """Twelve games in shards of four: greedy, Best-of-N, and with branches."""
    monkeypatch.setattr(pool, "SHARD_GAMES", 5)
    judged, choice = ONCE.model_copy(update={"temperature": 1.0}), Choice("prm", prm_folder, best_of=3)
    return {
        "greedy": play_of(taught_folder, ONCE, household_games, valued_by=Valued(prm_folder, True, every=3)),
        "judged": play_of(taught_folder, judged, household_games, seed=1, choice=choice),
        "branched": play_of(taught_folder, BRANCHED, household_games, seed=2),
    }


def played(plays: dict[str, Play], processes: int, scratch: Path, monitor: Listening) -> list[Played]:
    scratch.mkdir()
    by_name = play_in_shards(plays, Processes(processes, threads=1), scratch=scratch, monitor=monitor)
    assert [*by_name] == [*plays]
    return [*by_name.values()]


def tokens(played: list[Played]) -> list[tuple[int, int]]:
    return [(one.usage.tokens_read, one.usage.tokens_drawn) for one in played]


def test_the_number_of_processes_does_not_change_what_is_played(plays: dict[str, Play], tmp_path: Path) -> None:
    monitor = Listening()
    by_one = played(plays, 1, tmp_path / "alone", monitor)
    by_two = played(plays, 2, tmp_path / "together", Listening())
    assert tokens(by_one) == tokens(by_two)
    alone = [one.episodes for one in by_one]
    assert alone == [one.episodes for one in by_two]
    assert [one.values for one in by_one] == [one.values for one in by_two]
    read = {game.id for shard in pool._shards(plays["greedy"], tmp_path) for game in shard.play.games[::3]}
    turns = {episode.episode_id: len(episode.turns) for episode in alone[0] if episode.game in read}
    assert len(turns) == 3 * 2, "of every shard the first and the fourth"
    assert {name: len(values) for name, values in by_one[0].values.items()} == turns
    assert [one.values for one in by_one[1:]] == [{}, {}]
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


def test_an_agent_has_all_the_settings_of_its_play(taught_folder: Path, prm_folder: Path) -> None:
    how = ONCE.model_copy(update={"temperature": 1.3, "slots": 5})
    agent = ready(play_of(taught_folder, how, choice=Choice("prm", prm_folder, best_of=3, prior=0.5)))
    assert isinstance(agent, BestOfN)
    assert (agent.n, agent.prior, agent.temperature, agent.slots) == (3, 0.5, 1.3, 5)


def test_a_worker_plays_as_this_process_would(
    plays: dict[str, Play], household_games: list[PlayableGame], tmp_path: Path
) -> None:
    (there,) = played({"greedy": plays["greedy"]}, 2, tmp_path / "scratch", Listening())
    agent: Any = ready(replace(plays["greedy"], seed=9))
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


def test_shards_are_even_and_have_seeds_of_their_own(plays: dict[str, Play], tmp_path: Path) -> None:
    parts = [shard.play for shard in pool._shards(plays["branched"], tmp_path / "shards")]
    assert [len(part.games) for part in parts] == [4, 4, 4]
    assert [game for part in parts for game in part.games] == list(plays["branched"].games)
    assert [part.seed for part in parts] == [2, 3, 4]


def test_an_engine_beside_this_process_is_compared_once_a_policy(
    taught_folder: Path, prm_folder: Path, household_games: list[PlayableGame], tmp_path: Path
) -> None:
    choice = Choice("prm", prm_folder, best_of=2)
    with stub(taught_folder) as policies, stub(prm_folder, "prm") as prms:
        engine = vllm.Settings(**served_by(policies), **served_by(prms))
        plays = {
            "alone": play_of(taught_folder, ONCE, household_games[:2], engine=engine),
            "judged": play_of(taught_folder, ONCE, household_games[:2], engine=engine, choice=choice),
            "embedded": play_of(taught_folder, ONCE, household_games[:2]),
        }
        alone, judged, embedded = played(plays, 1, tmp_path / "scratch", Listening())
    assert alone.difference is not None and alone.difference.nats < 1e-4
    assert (judged.difference, embedded.difference) == (None, None)
    assert alone.episodes == embedded.episodes


def test_plays_of_the_same_models_follow_each_other(taught_folder: Path, prm_folder: Path, tmp_path: Path) -> None:
    plays = {
        f"{split} {policy.name} {choice and 'judged'}": play_of(policy, ONCE, choice=choice)
        for split in ("seen", "unseen")
        for policy in (taught_folder, prm_folder)
        for choice in (None, Choice("prm", prm_folder, best_of=2))
    }
    shards = [(name, Shard(play, tmp_path / name)) for name, play in plays.items()]
    assert [name.split()[0] for name, _ in pool._by_models(shards)] == ["seen", "unseen"] * 4
    by_policy = [shard.play.policy for _, shard in pool._by_models(shards)]
    assert by_policy == [taught_folder] * 4 + [prm_folder] * 4


def test_who_values_is_a_plays_model_as_who_chooses_is(taught_folder: Path, prm_folder: Path, tmp_path: Path) -> None:
    plays = {
        "valued": play_of(taught_folder, ONCE, valued_by=Valued(prm_folder, observations=True)),
        "alone": play_of(taught_folder, ONCE),
        "judged": play_of(taught_folder, ONCE, choice=Choice("prm", prm_folder, best_of=2)),
    }
    shards = [(name, Shard(play, tmp_path / name)) for name, play in plays.items()]
    assert [name for name, _ in pool._by_models(shards)] == ["valued", "judged", "alone"]


def test_only_the_first_shard_compares(plays: dict[str, Play], tmp_path: Path) -> None:
    played_by_vllm = replace(plays["greedy"], engine=vllm.Settings())
    assert [shard.compared for shard in pool._shards(played_by_vllm, tmp_path / "shards")] == [True, False, False]


def play_and_die(plays: dict[str, Play], scratch: Path) -> None:
    """Plays as a process of its own, which is killed in its third shard."""

    class Deadly(Listening):
        def progress(self, done: int, total: int, what: str) -> None:
            if len(list(scratch.glob("play*/????/usage.json"))) == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    pool.SHARD_GAMES = 5
    played(plays, 1, scratch, Deadly())


def test_shards_that_were_played_are_not_played_again(plays: dict[str, Play], tmp_path: Path) -> None:
    del plays["branched"]
    calm = played(plays, 1, tmp_path / "calm", Listening())
    killed = get_context("spawn").Process(target=play_and_die, args=(plays, tmp_path / "scratch"))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "scratch").rglob("usage.json")}
    assert 2 <= len(kept) <= 3, "its worker ends a moment later"
    (tmp_path / "scratch" / "play1" / "0002.part").mkdir(exist_ok=True)
    again = play_in_shards(plays, Processes(1, threads=1), scratch=tmp_path / "scratch", monitor=Listening())
    assert [(one.episodes, one.values) for one in again.values()] == [(one.episodes, one.values) for one in calm]
    assert tokens([*again.values()]) == tokens(calm)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_what_a_worker_died_of_is_told(plays: dict[str, Play], tmp_path: Path) -> None:
    missing = replace(plays["greedy"], policy=tmp_path / "nowhere")
    with pytest.raises(WorkerError, match=r"before its work was done; it said:\n(.|\n)*nowhere"):
        played({"": missing}, 2, tmp_path / "scratch", Listening())
