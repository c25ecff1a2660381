"""Trainings that are killed (-9) at any step and go on end with the same bytes as those that never were."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import InversePrm, Model, Prm, Rollouts, Sft, WorldModel
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Resume, SilentMonitor, StageReport
from agentprm_dagster.improvement.dpo_settings import Panel
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.online_dpo import improve_policy
from agentprm_dagster.improvement.panel import Watched
from agentprm_dagster.launch.job import Job
from agentprm_dagster.section import HeadTraining
from agentprm_dagster.training import snapshots
from agentprm_dagster.training.inverse_prm import train_inverse_prm
from agentprm_dagster.training.process_reward_model import train_prm
from agentprm_dagster.training.reference_value import train_reference_value
from agentprm_dagster.training.sft import train_initial_policy
from agentprm_dagster.training.snapshots import load, save
from agentprm_dagster.training.world_model import train_world_model

SEED = int(os.environ.get("AGENTPRM_TORTURE_SEED", "0"))

Train = Callable[..., Any]
"""Called with the folder to write to, `monitor` and `resume`."""

SMALL: dict[str, Any] = {"epochs": 2, "batch_tokens": 800}
MODEL = Model(hidden_size=16, layers=1, heads=2, kv_heads=1, intermediate_size=32, context=512)
SFT = Sft(epochs=1.5, batch_episodes=3, learning_rate=1e-2)
ROLLOUTS = Rollouts(temperature=1.0, max_steps=6, slots=4)
PRM = Prm(**SMALL)
IMPROVEMENT = Improvement(
    steps=6,
    episodes_per_step=4,
    states_per_episode=2,
    candidates=4,
    min_gap=0,
    temperature=1.5,
    steered=0.3,
    optimizer="muon",
    learning_rate=1e-2,
    panel=Panel(every=2, games=3, tripwire="success", limit=1.0),
)


@pytest.fixture(params=["sft", "prm", "inverse prm", "reference value", "world model", "policy improvement"])
def train(
    request: pytest.FixtureRequest,
    taught_folder: Path,
    demonstrations: list[Episode],
    rollouts: list[Episode],
    household_games: list[PlayableGame],
    tmp_path: Path,
) -> Train:
    """One of the trainings."""
    some = demonstrations[:8]
    held_out = {game.id for game in household_games[:4]}
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)
    prm = tmp_path / "critic"
    checkpoints.save(checkpoints.prm_from_policy(taught_folder, seed=1), checkpoints.load_tokenizer(taught_folder), prm)
    own = [episode for episode in rollouts if episode.game not in held_out]
    others = [episode for episode in rollouts if episode.game in held_out]
    watched = Watched(others, (), ROLLOUTS, 0.95, PRM.batch_tokens)
    games = {game.id: game for game in household_games}

    def sft(out: Path, job: Job) -> StageReport:
        return train_initial_policy(
            some, demonstrations[8:14], MODEL, SFT, WORDING, out, dialogue="append", reading_epochs=1, job=job
        )

    def reward(out: Path, job: Job) -> StageReport:
        how: dict[str, Any] = {"dialogue": "append", "max_loss": 1.0, "min_ordering": 0.5}
        return train_prm(taught_folder, rollouts, targets, PRM, WORDING, out, job=job, **how)

    def inverse(out: Path, job: Job) -> object:
        how: dict[str, Any] = {
            "dialogue": "append",
            "temperature": 1.0,
            "max_new_tokens": 16,
            "held_out": held_out,
        }
        return train_inverse_prm(taught_folder, some, [], own, InversePrm(**SMALL), WORDING, out, job=job, **how)

    def value(out: Path, job: Job) -> StageReport:
        how: dict[str, Any] = {"gamma": 0.95, "max_loss": 1.0, "held_out": held_out}
        return train_reference_value(taught_folder, demonstrations, WORDING, HeadTraining(**SMALL), out, job=job, **how)

    def world(out: Path, job: Job) -> StageReport:
        how: dict[str, Any] = {"min_exact": 1.0, "held_out": held_out}
        return train_world_model(taught_folder, some, rollouts, WorldModel(**SMALL), WORDING, out, job=job, **how)

    def improved(out: Path, job: Job) -> StageReport:
        how: dict[str, Any] = {"dialogue": "append", "centred": False, "max_kl": 20.0, "watched": watched}
        return improve_policy(taught_folder, prm, own, games, KIND, IMPROVEMENT, out, job=job, **how)

    made: dict[str, Train] = {
        "sft": sft,
        "prm": reward,
        "inverse prm": inverse,
        "reference value": value,
        "world model": world,
        "policy improvement": improved,
    }
    return made[request.param]


class Deadly(SilentMonitor):
    """Kills its process (-9) when it is told of progress for the n-th time."""

    def __init__(self, left: int) -> None:
        self.left = left

    def progress(self, done: int, total: int, what: str) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def in_a_child(train: Train, out: Path, progress: int, resume: Resume) -> bool:
    """Trains in another process that is killed after so much progress; whether it was."""
    child = os.fork()
    if child == 0:
        train(out, Job(seed=0, monitor=Deadly(progress), resume=resume))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def test_killed_anywhere_it_ends_with_the_same_bytes(train: Train, tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    calm.mkdir()
    expected = train(calm, Job(seed=0))
    resume, rng, killed = Resume(tmp_path / "unfinished", seconds=0), random.Random(SEED), 0
    while True:
        out = tmp_path / f"attempt{killed}"
        out.mkdir()
        if not in_a_child(train, out, rng.randrange(1, 4), resume):
            break
        killed += 1
    assert killed, "it was never killed"
    assert files(out) == files(calm)
    again = tmp_path / "again"
    again.mkdir()
    report = train(again, Job(seed=0, resume=resume))
    if isinstance(expected, StageReport):
        assert report == expected, "every number is that of the whole training, not of its last part"


def test_without_anything_saved_it_begins_anew(train: Train, tmp_path: Path) -> None:
    """What was saved is damaged: a warning, and the same bytes."""
    folders = [tmp_path / name for name in ("calm", "again")]
    for folder in folders:
        folder.mkdir()
    train(folders[0], Job(seed=0, resume=Resume(tmp_path / "unfinished", seconds=0)))
    saved = list((tmp_path / "unfinished").rglob("*.safetensors"))
    assert saved
    for path in saved:
        path.write_bytes(path.read_bytes()[:-100])
    train(folders[1], Job(seed=0, resume=Resume(tmp_path / "unfinished", seconds=0)))
    assert files(folders[0]) == files(folders[1])


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    state = {
        "steps": 3,
        "numbers": [1.5, None, "x", True],
        "by key": {1: torch.arange(3), "two": {"three": torch.zeros(2, 2, dtype=torch.bfloat16)}},
        "shared": (weight := torch.ones(4)),
        "again": weight.view(2, 2),
    }
    save(state, tmp_path / "deep" / "state.safetensors")
    loaded = load(tmp_path / "deep" / "state.safetensors")
    assert loaded is not None
    assert loaded["numbers"] == state["numbers"]
    assert torch.equal(loaded["by key"][1], torch.arange(3))
    assert loaded["by key"]["two"]["three"].dtype == torch.bfloat16
    assert torch.equal(loaded["again"], torch.ones(2, 2))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"no safetensors", (2**40).to_bytes(8, "little") + b"{}"])
def test_a_damaged_file_is_told_and_not_used(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    assert load(path) is None
    assert "the work begins anew" in caplog.text


@pytest.mark.parametrize(
    ("took", "next_save"), [(1.0, 241.0), (10.0, 330.0)], ids=["as often as asked", "less often where it takes long"]
)
def test_when_it_is_saved(took: float, next_save: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = iter([0.0, 119.0, 120.0, 120 + took, next_save - 1, next_save, next_save + took])
    monkeypatch.setattr(snapshots, "monotonic", lambda: next(clock))
    kept = snapshots.Snapshots(Resume(tmp_path, seconds=120), {})
    saved = []
    monkeypatch.setattr(snapshots, "save", lambda state, path: saved.append(state["steps"]))
    for steps in (1, 2, 3, 4):
        kept.after(steps)
    assert saved == [2, 4]
