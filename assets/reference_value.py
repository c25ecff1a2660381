"""V_mu, what states are worth to the demonstrator: process reward shaping (section 4 of the paper)."""

import dagster as dg
from agentprm_dagster.resources.stages import StagesResource

from agentprm_dagster.iterations import MACHINE
from agentprm_dagster.programs.reference_value import train
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    deps=["demonstrations", "initial_policy"],
    check_specs=gates("reference_value", "better_than_constant"),
    pool=MACHINE,
    kinds={"reward_model", "huggingface"},
)
def reference_value(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """V_mu(s), learnt from the demonstrations' own returns; shaped targets say how far an action went by it."""
    stage = stages.stage(context)
    stage.settings("targets.value", "targets.gamma", "targets.held_out_games", "gates.max_prm_loss")
    stage.read("demonstrations", 0)
    stage.read("initial_policy", 0)
    return stage.train(train)
