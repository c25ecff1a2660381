"""The process reward model: the paper's Eq. 2."""

import dagster as dg

from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.iterations import FIRST, ITERATIONS, MACHINE
from agentprm_dagster.programs.prm import train
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates
from agentprm_dagster.training.hacking import SETTINGS as HACKING


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "rollouts", "mc_value_targets"],
    check_specs=gates("prm", "better_than_constant", "orders_actions", "not_hackable"),
    pool=MACHINE,
    kinds={"reward_model", "huggingface"},
)
@in_own_words
def prm(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """Q(s, a) of the behaviour policy, learnt from the targets by soft binary cross-entropy."""
    stage = stages.stage(context)
    stage.behaviour_policy()
    stage.read("rollouts")
    stage.read("mc_value_targets")
    settings = stage.settings(
        "dialogue",
        "prm",
        "improvement.rank_by",
        "gates.max_prm_loss",
        "gates.min_ordering_accuracy",
        *HACKING,
    )
    base = stage.settings("model").model if settings.prm.init == "base" else None
    if settings.prm.init == "previous" and stage.iteration > FIRST:
        stage.read("prm", stage.iteration - 1, role="previous_prm")
    return stage.train(train, identity=base_identity(base) if base else None)
