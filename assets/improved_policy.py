"""The policy after one iteration: the paper's Eq. 3."""

import dagster as dg

from agentprm_dagster.improvement.kinds import KINDS
from agentprm_dagster.iterations import ITERATIONS, MACHINE
from agentprm_dagster.programs.improved_policy import train
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "rollouts", "mc_value_targets", "prm", "prm_committee"],
    check_specs=gates("improved_policy", "policy_finite", "kl_budget", "pairs_to_learn_from"),
    pool=MACHINE,
    kinds={"policy", "huggingface"},
)
@in_own_words
def improved_policy(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource
) -> dg.MaterializeResult:
    """pi_i: pi_(i-1) improved against the PRM by Online DPO, or as `improvement.kind` says, which may read no PRM.

    Whether it explores in the next iteration is for `promotion` to say.
    """
    stage = stages.stage(context)
    how = stage.settings("improvement").improvement
    stage.settings(*how.sections)
    around = stage.unrecorded("rollouts.games")
    stage.behaviour_policy()
    rollouts = stage.read("rollouts")
    for asset in how.reads:
        stage.read(asset)
    order = rollouts.manifest.seeds["stage"]
    games = tasks.explored(stage.environment, stage.experiment_seed, around.rollouts.games, order)
    stage.refuse_other_games("rollouts", games)
    return stage.train(train, games=games, code=[KINDS[how.kind]])
