"""The policy after one iteration: the paper's Eq. 3."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.kinds import KINDS, improvement_kind
from agentprm_dagster.iterations import ITERATIONS, WHEN_READY
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "rollouts", "mc_value_targets", "prm", "prm_committee"],
    check_specs=gates("improved_policy", "policy_finite", "kl_budget", "pairs_to_learn_from"),
    automation_condition=WHEN_READY,
    kinds={"policy", "huggingface"},
)
def improved_policy(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource
) -> dg.MaterializeResult:
    """pi_i: pi_(i-1) improved against the PRM, by Online DPO unless `improvement.kind` says otherwise.

    Announces the behaviour policy of iteration i + 1.
    """
    stage = stages.stage(context)
    how = stage.settings("improvement").improvement
    settings, around = stage.settings(*how.sections), stage.unrecorded("iterations", "rollouts.games")
    policy, rollouts, reward = stage.behaviour_policy(), stage.read("rollouts"), stage.read(how.reward)
    read = {asset: stage.read(asset).path for asset in how.reads}
    order = rollouts.manifest.seeds["stage"]
    games = tasks.explored(stage.environment, stage.experiment_seed, around.rollouts.games, order)
    stage.refuse_other_games("rollouts", games)

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        by_id = {game.id: game for game in tasks.open(games)}
        inputs = Inputs(policy.path, reward.path, rollouts.path, read, by_id, stage.kind)
        kind = improvement_kind(how.kind)
        return kind.improve(inputs, settings, out, job=stage.job(monitor, resume))

    return stage.make(
        train,
        games=games,
        announces=stage.iteration + 1 if stage.iteration < around.iterations else None,
        code=[KINDS[how.kind]],
    )
