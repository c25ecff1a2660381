"""The paper's pi_0."""

import dagster as dg

from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.iterations import FIRST, WHEN_READY
from agentprm_dagster.programs.initial_policy import train
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    deps=["demonstrations"],
    check_specs=gates("initial_policy", "finite_loss"),
    automation_condition=WHEN_READY,
    kinds={"policy", "huggingface"},
)
@in_own_words
def initial_policy(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource
) -> dg.MaterializeResult:
    """pi_0: the experiment's model, fine-tuned on the won demonstrations; from scratch, it reads random play first."""
    stage = stages.stage(context)
    stage.read("demonstrations")
    settings = stage.settings("dialogue", "model", "pretraining", "sft")
    drawn = (stage.environment, stage.experiment_seed, settings.pretraining.episodes, stage.seed)
    games = tasks.demonstrated(*drawn) if settings.pretraining.episodes else ()
    return stage.train(train, games=games, identity=base_identity(settings.model), announces=FIRST)
