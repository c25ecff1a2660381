"""The paper's pi_0."""

from functools import partial
from itertools import cycle, islice
from pathlib import Path

import dagster as dg

from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.envs.base import DrawsRandomEpisodes
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.iterations import FIRST, WHEN_READY
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.rollouts.random_play import play_at_random
from agentprm_dagster.stages.base_models import require_exact_base
from agentprm_dagster.stages.materialization import gates

MISTAKES = 0.3
"""Share of the commands of random play that cannot be done."""


@dg.asset(
    deps=["demonstrations"],
    check_specs=gates("initial_policy", "finite_loss"),
    automation_condition=WHEN_READY,
    kinds={"policy", "huggingface"},
)
def initial_policy(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource
) -> dg.MaterializeResult:
    """pi_0: the experiment's model, fine-tuned on the won demonstrations; from scratch, it reads random play first."""
    stage = stages.stage(context)
    demonstrations, settings = stage.read("demonstrations"), stage.settings("dialogue", "model", "pretraining", "sft")
    pretraining, dialogue, kind = settings.pretraining, settings.dialogue.format, stage.kind
    drawn = (stage.environment, stage.experiment_seed, pretraining.episodes, stage.seed)
    games = tasks.demonstrated(*drawn) if pretraining.episodes else ()
    random_episode = kind.random_episode if isinstance(kind, DrawsRandomEpisodes) else partial(play_at_random, kind)

    def random_play() -> list[Episode]:
        return [
            random_episode(
                game,
                episode_id=f"{game.id}#w{i}",
                max_steps=pretraining.max_steps,
                mistakes=MISTAKES,
                hindsight=pretraining.hindsight,
                seed=stage.seed + i,
            )
            for i, game in enumerate(islice(cycle(tasks.open(games)), pretraining.episodes))
        ]

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        from agentprm_dagster.training.sft import train_initial_policy  # loads torch

        require_exact_base(settings.model, kind.wording, dialogue)
        won = [episode for episode in read_episodes(demonstrations.path) if episode.won]
        return train_initial_policy(
            won,
            random_play(),
            settings.model,
            settings.sft,
            kind.wording,
            out,
            dialogue=dialogue,
            reading_epochs=pretraining.epochs,
            job=stage.job(monitor, resume),
        )

    return stage.make(train, games=games, identity=base_identity(settings.model), announces=FIRST)
