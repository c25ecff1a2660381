"""A process that plays holds one model of each use: the one before is gone when the next is loaded."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

import parrot
from agentprm_dagster.config import Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.kinds import KINDS
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.launch import worker
from agentprm_dagster.launch.latest_model import LatestModel
from agentprm_dagster.launch.play import Choice
from agentprm_dagster.launch.worker import Shard, ready, serve
from agentprm_dagster.workers import Worker
from plays import play_of
from pretended import Pretended, eventually

HOW = Rollouts(per_game=1, max_steps=2, branch_states=0, slots=3, max_new_tokens=4)


@dataclass(eq=False)
class Model:
    """One that must be closed."""

    name: str
    events: list[str]

    def close(self) -> None:
        self.events.append(f"close {self.name}")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to the models of a kind called parrot."""
    happened: list[str] = []

    def load(checkpoint: Path, role: str, settings: Any) -> Model:
        happened.append(f"load {role} {checkpoint.name}")
        return Model(checkpoint.name, happened)

    monkeypatch.setitem(KINDS, "parrot", "parrot")
    monkeypatch.setattr(parrot, "load", load)
    return happened


def test_a_model_is_closed_before_the_next_is_loaded(events: list[str]) -> None:
    latest, settings = LatestModel(), parrot.Settings()
    first = latest.load(Path("a"), "policy", settings)
    assert latest.load(Path("a"), "policy", parrot.Settings()) is first
    latest.load(Path("a"), "prm", settings)
    latest.load(Path("a"), "prm", parrot.Settings(tokens=(8,)))
    latest.load(Path("b"), "prm", settings)
    latest.let_go()
    latest.let_go()
    assert events == [
        "load policy a", "close a", "load prm a", "close a", "load prm a", "close a", "load prm b", "close b",
    ]  # fmt: skip


def test_after_a_model_that_could_not_be_loaded_the_next_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "parrot", "parrot")
    latest = LatestModel()
    for _ in range(2):
        with pytest.raises(ValueError, match="nowhere"):
            latest.load(Path("nowhere"), "policy", parrot.Settings())


@dataclass
class Pipe:
    """The end of a worker's pipe, which receives these and is then closed."""

    messages: list[Any]
    sent: list[Any] = field(default_factory=list)

    def recv(self) -> Any:
        if not self.messages:
            raise EOFError
        return self.messages.pop(0)

    def send(self, message: Any) -> None:
        self.sent.append(message)


def test_a_worker_holds_nothing_of_the_play_before(
    taught_folder: Path, household_games: list[PlayableGame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its model nor the agent around it."""
    models: list[Any] = []
    other = tmp_path / "other"
    checkpoints.save(checkpoints.load_policy(taught_folder), checkpoints.load_tokenizer(taught_folder), other)
    load = checkpoints.load_policy

    def loading(path: Path) -> Any:
        assert not [model for model in models if model() is not None]
        model = load(path)
        models.append(ref(model))
        return model

    monkeypatch.setattr(checkpoints, "load_policy", loading)
    plays = [play_of(folder, HOW, household_games[:2]) for folder in (other, taught_folder, other)]
    pipe: Any = Pipe([1, *(Shard(play, tmp_path / str(i)) for i, play in enumerate(plays))])
    with pytest.raises(EOFError):
        serve(pipe)
    assert len(models) == 3
    assert pipe.sent.count(None) == 3


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pretended]:
    pretended = Pretended(tmp_path / "pids", monkeypatch)
    yield pretended
    for latest in (worker._policy, worker._judging):
        latest.let_go()
    assert not pretended.running()


def test_the_servers_of_a_play_are_ended_when_it_is_replaced(
    taught_folder: Path, policy_folder: Path, prm_folder: Path, pretended: Pretended
) -> None:
    judged: dict[str, Any] = {"choice": Choice("prm", prm_folder, best_of=2), "engine": pretended.settings()}
    served = []
    for folder in (taught_folder, taught_folder, policy_folder):
        ready(play_of(folder, HOW, **judged))
        served.append({pretended.argument(pid, "model") for pid in pretended.running()})
    with_prm = [{str(folder), str(prm_folder)} for folder in (taught_folder, taught_folder, policy_folder)]
    assert served == with_prm
    assert len(pretended.started()) == 2 * 3, "each with a process of its own; none was started twice"


def test_a_killed_worker_leaves_no_server_behind(
    taught_folder: Path, household_games: list[PlayableGame], tmp_path: Path, pretended: Pretended
) -> None:
    pretended.set("PRETENDED_GATE", str(tmp_path / "never"))
    pretended.set("PRETENDED_STAYS", "yes")
    play = play_of(taught_folder, HOW, household_games[:2], engine=pretended.settings(replicas=2))
    with closing(Worker("agentprm_dagster.launch.worker")) as playing:
        playing.send(1)
        playing.send(Shard(play, tmp_path / "shard"))
        assert eventually(lambda: len(pretended.running()) == 4)
        os.kill(playing.pid, signal.SIGKILL)
        assert pretended.all_ended()
