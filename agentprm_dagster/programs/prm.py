"""Trains the process reward model: the paper's Eq. 2."""

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.request import Request
from agentprm_dagster.training.hacking import hacking


def train(request: Request, job: Job) -> StageReport:
    """Q(s, a) of the behaviour policy, begun where `prm.init` says."""
    import pandas as pd

    from agentprm_dagster.training.process_reward_model import train_prm  # loads torch

    settings, inputs, gates = request.settings, request.inputs, request.settings.gates
    return train_prm(
        inputs["behaviour_policy"],
        read_episodes(inputs["rollouts"]),
        pd.read_parquet(inputs["mc_value_targets"] / "targets.parquet"),
        settings.prm,
        request.wording,
        request.out,
        dialogue=settings.dialogue.format,
        max_loss=gates.max_prm_loss,
        min_ordering=gates.min_ordering_accuracy,
        rank_by=settings.improvement.rank_by,
        base=settings.model if settings.prm.init == "base" else None,
        previous=inputs.get("previous_prm"),
        hacking=hacking(settings, relative=settings.prm.loss == "relative"),
        job=job,
    )
