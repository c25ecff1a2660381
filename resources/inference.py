"""Checkpoints as agents that answer."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dagster as dg

from agentprm_dagster.config import Experiment
from agentprm_dagster.core.stage import Monitor
from agentprm_dagster.core.types import Episode
from agentprm_dagster.envs.games import GameRef

if TYPE_CHECKING:
    from agentprm_dagster.core.rollout import Agent


class InferenceResource(dg.ConfigurableResource):
    """The embedded engine: transformers, one cached conversation a slot; rollouts in several processes."""

    processes: int = 0
    """Processes that roll out at the same time; 0: one a core for the embedded model, else one."""

    def rollouts(
        self, checkpoint: Path, experiment: Experiment, games: Sequence[GameRef], *, seed: int, monitor: Monitor
    ) -> list[Episode]:
        """Everything that one iteration rolls out; the same whatever the number of processes."""
        from agentprm_dagster.inference.rollout_pool import roll_out_in_processes

        processes = self.processes or (len(os.sched_getaffinity(0)) if experiment.model.name == "embedded" else 1)
        with TemporaryDirectory() as scratch:
            return roll_out_in_processes(
                checkpoint,
                experiment,
                games,
                processes=processes,
                seed=seed,
                scratch=Path(scratch),
                monitor=monitor,
            )

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
