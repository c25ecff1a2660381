"""Trains V_mu, what states are worth to the demonstrator."""

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.request import Request


def train(request: Request, job: Job) -> StageReport:
    """V_mu from the backbone of pi_0, on the demonstrations."""
    from agentprm_dagster.training.reference_value import train_reference_value  # loads torch

    settings, targets = request.settings, request.settings.targets
    demonstrations = read_episodes(request.inputs["demonstrations"])
    games = {episode.game for episode in demonstrations}
    return train_reference_value(
        request.inputs["initial_policy"],
        demonstrations,
        request.wording,
        targets.value,
        request.out,
        gamma=targets.gamma,
        max_loss=settings.gates.max_prm_loss,
        held_out=hold_out(games, targets.held_out_games, request.experiment_seed),
        job=job,
    )
