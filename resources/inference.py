"""Checkpoints as agents that answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from agentprm_dagster.config import Experiment

if TYPE_CHECKING:
    from agentprm_dagster.core.rollout import Agent


class InferenceResource(dg.ConfigurableResource):
    """The embedded engine: transformers in this process, one cached conversation a slot."""

    def policy(self, checkpoint: Path, experiment: Experiment, *, temperature: float, seed: int) -> "Agent":
        """A policy that samples its answers (temperature 0: takes the likeliest)."""
        from agentprm_dagster.inference.policy import Policy  # loads torch
        from agentprm_dagster.models import checkpoints

        model, tokenizer = checkpoints.load_policy(checkpoint), checkpoints.load_tokenizer(checkpoint)
        return Policy(model, tokenizer, temperature=temperature, seed=seed, **_settings(experiment))

    def best_of_n(
        self, checkpoint: Path, prm: Path, experiment: Experiment, *, n: int, temperature: float, seed: int
    ) -> "Agent":
        """A policy that samples n answers at every turn, of which the PRM chooses one."""
        from agentprm_dagster.inference.best_of_n import BestOfN  # loads torch
        from agentprm_dagster.models import checkpoints

        model, tokenizer = checkpoints.load_policy(checkpoint), checkpoints.load_tokenizer(checkpoint)
        judge = checkpoints.load_prm(prm)
        return BestOfN(model, tokenizer, judge, n=n, temperature=temperature, seed=seed, **_settings(experiment))


def _settings(experiment: Experiment) -> dict[str, Any]:
    return {
        "dialogue": experiment.dialogue.format,
        "slots": experiment.rollouts.slots,
        "max_new_tokens": experiment.rollouts.max_new_tokens,
    }
