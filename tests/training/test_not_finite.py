"""Training that diverges: its numbers say so, a gate made for it fails, and the artifact can be committed and shown."""

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Model, Prm, Sft
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.launch.job import Job
from agentprm_dagster.provenance.manifest import Code, Manifest, Recipe
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.stages.materialization import materialization
from agentprm_dagster.stages.page import PAGE
from agentprm_dagster.training.process_reward_model import train_prm
from agentprm_dagster.training.sft import train_initial_policy

HIGH = 1e30
"""A learning rate after which no number is left; an experiment's file could not ask for it."""
MODEL = Model(hidden_size=16, layers=1, heads=2, kv_heads=1, intermediate_size=32, context=512)
SFT = Sft(epochs=2, batch_episodes=4).model_copy(update={"learning_rate": HIGH})
PRM = Prm(epochs=2, batch_tokens=2000).model_copy(update={"learning_rate": HIGH})
HOW: dict[str, Any] = {"dialogue": "append", "job": Job(seed=0)}

Diverge = Callable[[Path, list[Episode], list[Episode], Path], StageReport]


def initial_policy(policy: Path, demonstrations: list[Episode], rollouts: list[Episode], out: Path) -> StageReport:
    return train_initial_policy(demonstrations[:12], [], MODEL, SFT, WORDING, out, **HOW)


def prm(policy: Path, demonstrations: list[Episode], rollouts: list[Episode], out: Path) -> StageReport:
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)
    return train_prm(policy, rollouts, targets, PRM, WORDING, out, max_loss=1.0, min_ordering=0.5, **HOW)


@pytest.mark.parametrize(
    ("diverge", "not_finite", "gate"),
    [
        (initial_policy, {"train_loss"}, "finite_loss"),
        (prm, {"held_out_loss", "correlation", "calibration_error", "ordering_accuracy"}, "better_than_constant"),
    ],
    ids=["initial_policy", "prm"],
)
def test_a_training_that_diverges_says_so_and_can_be_committed(
    diverge: Diverge,
    not_finite: set[str],
    gate: str,
    taught_folder: Path,
    demonstrations: list[Episode],
    rollouts: list[Episode],
    tmp_path: Path,
) -> None:
    store = ArtifactStore(tmp_path / "store")
    recipe = Recipe("diverging", diverge.__name__, 0, (), {}, Code("0", "0" * 64, None, None), {})
    with store.draft(recipe) as draft:
        report = diverge(taught_folder, demonstrations, rollouts, draft.path)
        (draft.path / PAGE).write_text(report.preview)
        artifact = draft.commit(metrics=report.metrics, gates=report.gates)
    made = Manifest.from_json((artifact.path / "manifest.json").read_text())
    none = {name for name, value in made.metrics.items() if value is None}
    assert not_finite <= none
    assert none == {name for name, value in report.metrics.items() if isnan(value)}
    (failed,) = (each for each in made.gates if each.name == gate)
    assert (failed.passed, failed.value, "nan" in failed.message) == (False, None, True)
    shown = materialization(artifact, None, [artifact], made_before=False)
    assert {name for name, value in shown.metadata.items() if value == "not a finite number"} == none
