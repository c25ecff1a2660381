"""Trains the world model of model-predictive reasoning."""

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.request import Request


def train(request: Request, job: Job) -> StageReport:
    """What the environment replies, from the behaviour policy, on demonstrations and rollouts."""
    from agentprm_dagster.training.world_model import train_world_model  # loads torch

    settings, inputs = request.settings, request.inputs
    demonstrations, played = read_episodes(inputs["demonstrations"]), read_episodes(inputs["rollouts"])
    games = {episode.game for episode in (*demonstrations, *played)}
    return train_world_model(
        inputs["behaviour_policy"],
        demonstrations,
        played,
        settings.world_model,
        request.wording,
        request.out,
        min_exact=settings.gates.min_world_exact,
        held_out=hold_out(games, settings.targets.held_out_games, request.experiment_seed),
        job=job,
    )
