"""Checkpoints as agents that answer."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from agentprm_dagster.config import Experiment

if TYPE_CHECKING:
    from agentprm_dagster.inference.policy import Policy


class InferenceResource(dg.ConfigurableResource):
    """The embedded engine: transformers in this process, one cached conversation a slot."""

    def policy(self, checkpoint: Path, experiment: Experiment, *, temperature: float, seed: int) -> "Policy":
        """A policy that samples its answers (temperature 0: takes the likeliest)."""
        from agentprm_dagster.inference.policy import Policy  # loads torch
        from agentprm_dagster.models import checkpoints

        return Policy(
            checkpoints.load_policy(checkpoint),
            checkpoints.load_tokenizer(checkpoint),
            dialogue=experiment.dialogue.format,
            slots=experiment.rollouts.slots,
            temperature=temperature,
            max_new_tokens=experiment.rollouts.max_new_tokens,
            seed=seed,
        )
