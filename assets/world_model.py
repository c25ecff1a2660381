"""What the environment replies: the world model of model-predictive reasoning (section 4.3 of the paper)."""

import dagster as dg
from agentprm_dagster.resources.stages import StagesResource

from agentprm_dagster.iterations import ITERATIONS, MACHINE
from agentprm_dagster.programs.world_model import train
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "demonstrations", "rollouts"],
    check_specs=gates("world_model", "better_than_constant"),
    pool=MACHINE,
    kinds={"world_model", "huggingface"},
)
def world_model(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """p(observation | dialogue, answer): the behaviour policy, taught what the environment replies."""
    stage = stages.stage(context)
    stage.settings("world_model", "targets.held_out_games", "gates.min_world_exact")
    stage.behaviour_policy()
    stage.read("demonstrations", 0)
    stage.read("rollouts")
    return stage.train(train)
