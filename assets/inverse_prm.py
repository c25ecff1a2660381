"""The process reward model learnt from demonstrations: the paper's Eqs. 6 to 10. No outcome is read."""

import dagster as dg

from agentprm_dagster.iterations import FIRST, ITERATIONS, MACHINE
from agentprm_dagster.programs.inverse_prm import ROLLOUTS, train
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates
from agentprm_dagster.training.hacking import SETTINGS as HACKING


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "demonstrations", "rollouts", "mc_value_targets"],
    check_specs=gates("inverse_prm", "tells_expert_from_learners", "not_hackable"),
    pool=MACHINE,
    kinds={"reward_model", "huggingface"},
)
@in_own_words
def inverse_prm(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """Q(s, a), high where the expert acts and low where all policies so far do; targets only say how it orders."""
    stage = stages.stage(context)
    stage.behaviour_policy()
    stage.read("demonstrations", 0)
    for iteration in range(FIRST, stage.iteration + 1):
        stage.read("rollouts", iteration, role=f"{ROLLOUTS}{iteration}")
    stage.read("mc_value_targets")
    stage.settings(
        "dialogue",
        "inverse_prm",
        "rollouts.temperature",
        "targets.held_out_games",
        "gates.max_prm_loss",
        *HACKING,
    )
    return stage.train(train)
