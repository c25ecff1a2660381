"""An experiment and a compute that do not go together."""

from typing import Any

from agentprm_dagster.config.catalog import ExperimentError
from agentprm_dagster.config.compute import Compute
from agentprm_dagster.config.experiment import Experiment


def refuse_together(experiment: Experiment, compute: Compute) -> None:
    """Refuses a compute by which an experiment's models cannot be trained.

    Raises:
        ExperimentError: which settings of both do not go together.
    """
    training = compute.training
    if training.launch != "process" and experiment.improvement.kind == "trl":
        _refuse(
            compute, f"training.launch: {training.launch}", "improvement.kind: trl trains in one process: set it to dpo"
        )
    if training.strategy != "fsdp2":
        return
    if muon := _trained_by_muon(experiment):
        names = ", ".join(f"{name}.optimizer" for name in muon)
        _refuse(compute, "training.strategy: fsdp2", f"Muon needs whole matrices: set {names} to adamw, or use ddp")
    if experiment.model.lora:
        _refuse(compute, "training.strategy: fsdp2", "model.lora trains so little that each process holds it: use ddp")


def _trained_by_muon(experiment: Experiment) -> list[str]:
    """The sections of the trainings that the experiment makes."""
    reward = experiment.improvement.reward
    sections: dict[str, Any] = {
        "sft": experiment.sft,
        "improvement": experiment.improvement,
        **({reward: getattr(experiment, reward)} if reward else {}),
    }
    if "learned" in experiment.evaluation.lookahead.worlds:
        sections["world_model"] = experiment.world_model
    targets: Any = experiment.targets
    if reward and targets.kind == "shaped":
        sections["targets.value"] = targets.value
    return [name for name, section in sections.items() if section.optimizer == "muon"]


def _refuse(compute: Compute, setting: str, words: str) -> None:
    raise ExperimentError(f"compute {compute.name}: {setting} does not go with this experiment: {words}")
