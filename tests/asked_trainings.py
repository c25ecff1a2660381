"""Requests for the training of a PRM on a handful of episodes, and who listens to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Experiment, TrainingCompute
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.launch.request import Request

ASKED = (
    "dialogue",
    "prm",
    "improvement.rank_by",
    "rollouts.max_new_tokens",
    "gates.max_prm_loss",
    "gates.min_ordering_accuracy",
    "gates.hackable",
    "gates.max_hackable",
    "gates.hack_margin",
)


def write_inputs(policy: Path, rollouts: Sequence[Episode], folder: Path) -> dict[str, Path]:
    """The folders that a PRM is trained from, by role."""
    inputs = {"behaviour_policy": policy, "rollouts": folder / "rollouts", "mc_value_targets": folder / "targets"}
    for role in ("rollouts", "mc_value_targets"):
        inputs[role].mkdir()
    write_episodes(rollouts, inputs["rollouts"])
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)
    targets.to_parquet(inputs["mc_value_targets"] / "targets.parquet")
    return inputs


def prm_request(inputs: dict[str, Path], folder: Path, *, epochs: float = 2, **training: Any) -> Request:
    """Asks for a PRM in `folder`/made; it is saved after every step."""
    prm = {"optimizer": "adamw", "epochs": epochs, "batch_tokens": 1000}
    gates = {"max_prm_loss": 9.0, "min_ordering_accuracy": 0.0}
    (folder / "made").mkdir(parents=True, exist_ok=True)
    return Request(
        stage="prm[1]",
        program="prm",
        experiment=Experiment.model_validate({"name": "tried", "prm": prm, "gates": gates}),
        asked=frozenset(ASKED),
        inputs=inputs,
        seed=5,
        training=TrainingCompute(**training),
        out=folder / "made",
        resume=folder / "begun",
        save_seconds=0.0,
    )


class Heard:
    """A monitor that remembers."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def progress(self, done: int, total: int, what: str) -> None:
        self.said.append((done, total, what))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.said.append((dict(values), step))
