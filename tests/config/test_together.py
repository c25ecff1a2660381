"""What an experiment asks for and what a compute can do."""

from typing import Any

import pytest

from agentprm_dagster.config import Compute, Experiment
from agentprm_dagster.config.catalog import ExperimentError, load_compute, load_experiment
from agentprm_dagster.config.together import refuse_together

ADAMW = {"optimizer": "adamw"}
BY_ADAMW: dict[str, Any] = {"sft": ADAMW, "prm": ADAMW}
SPREAD = {"launch": "torchrun", "processes": 2, "strategy": "fsdp2"}


def together(experiment: dict[str, Any], training: dict[str, Any]) -> None:
    compute = Compute.model_validate({"name": "mine", "training": training})
    refuse_together(Experiment.model_validate({"name": "tried", **experiment}), compute)


@pytest.mark.parametrize(
    ("experiment", "training", "words"),
    [
        (
            {"improvement": {"kind": "trl"}},
            {"launch": "torchrun"},
            "torchrun .* improvement.kind: trl .* set it to dpo",
        ),
        ({}, SPREAD, "set sft.optimizer, prm.optimizer to adamw"),
        ({**BY_ADAMW, "improvement": {"reward": "inverse_prm"}}, SPREAD, "set inverse_prm.optimizer to adamw"),
        ({**BY_ADAMW, "targets": {"kind": "shaped"}}, SPREAD, "set targets.value.optimizer to adamw"),
        ({**BY_ADAMW, "evaluation": {"lookahead": {"worlds": "learned"}}}, SPREAD, "set world_model.optimizer"),
        (
            {**BY_ADAMW, "inverse_prm": ADAMW, "model": {"name": "smollm2", "lora": {}}},
            SPREAD,
            "model.lora .* use ddp",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(experiment: dict[str, Any], training: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentError, match=f"compute mine: {'training.'}.*{words}"):
        together(experiment, training)


@pytest.mark.parametrize(
    ("experiment", "training"),
    [
        ({}, {}),
        ({"improvement": {"kind": "trl"}}, {}),
        ({}, {**SPREAD, "strategy": "ddp"}),
        (BY_ADAMW, SPREAD),
        ({"sft": ADAMW, "improvement": {"kind": "grpo"}, "targets": {"kind": "shaped"}}, SPREAD),
    ],
)
def test_what_goes_together_is_not(experiment: dict[str, Any], training: dict[str, Any]) -> None:
    together(experiment, training)


def test_the_paper_is_trained_on_eight_gpus() -> None:
    refuse_together(load_experiment("paper_3b"), load_compute("gpu8"))
