"""Trains the paper's pi_0."""

from functools import partial
from itertools import cycle, islice

from agentprm_dagster.envs.base import DrawsRandomEpisodes
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.request import Request
from agentprm_dagster.rollouts.random_play import play_at_random
from agentprm_dagster.stages.base_models import require_exact_base

MISTAKES = 0.3
"""Share of the commands of random play that cannot be done."""


def train(request: Request, job: Job) -> StageReport:
    """Fine-tunes on the won demonstrations; a model from scratch reads random play in the request's tasks first."""
    from agentprm_dagster.training.sft import train_initial_policy  # loads torch

    settings, dialogue = request.settings, request.settings.dialogue.format
    require_exact_base(settings.model, request.wording, dialogue)
    return train_initial_policy(
        [episode for episode in read_episodes(request.inputs["demonstrations"]) if episode.won],
        _random_play(request),
        settings.model,
        settings.sft,
        request.wording,
        request.out,
        dialogue=dialogue,
        reading_epochs=settings.pretraining.epochs,
        job=job,
    )


def _random_play(request: Request) -> list[Episode]:
    how, kind = request.settings.pretraining, request.kind
    random_episode = kind.random_episode if isinstance(kind, DrawsRandomEpisodes) else partial(play_at_random, kind)
    return [
        random_episode(
            task,
            episode_id=f"{task.id}#w{i}",
            max_steps=how.max_steps,
            mistakes=MISTAKES,
            hindsight=how.hindsight,
            seed=request.seed + i,
        )
        for i, task in enumerate(islice(cycle(request.open_tasks()), how.episodes))
    ]
