"""PRMs trained on disjoint games: where they disagree, none of them knows."""

import dagster as dg

from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.iterations import ITERATIONS, MACHINE
from agentprm_dagster.programs.prm_committee import train
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates
from agentprm_dagster.training.hacking import SETTINGS as HACKING


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "rollouts", "mc_value_targets"],
    check_specs=gates("prm_committee", "better_than_constant", "not_hackable"),
    pool=MACHINE,
    kinds={"reward_model", "huggingface"},
)
@in_own_words
def prm_committee(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """`improvement.panel.committee` PRMs, each trained on its own share of the games; all are judged on the same."""
    stage = stages.stage(context)
    settings = stage.settings(
        "dialogue", "prm", "improvement.panel.committee", "improvement.rank_by", "gates.max_prm_loss", *HACKING
    )
    base = stage.settings("model").model if settings.prm.init == "base" else None
    stage.behaviour_policy()
    stage.read("rollouts")
    stage.read("mc_value_targets")
    return stage.train(train, identity=base_identity(base) if base else None)
