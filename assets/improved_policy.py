"""The policy after one iteration: the paper's Eq. 3."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.envs.kinds import kind_of
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
    settings = stage.experiment.improvement
    policy, rollouts, reward = stage.behaviour_policy(), stage.read("rollouts"), stage.read(settings.reward)
    read = {asset: stage.read(asset).path for asset in settings.reads}
    last = stage.iteration >= stage.experiment.iterations
    seed = rollouts.manifest.seeds["stage"]
    games = tasks.explored(stage.experiment, stage.experiment.rollouts.games, seed)
    stage.refuse_other_games("rollouts", games)

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        there = {game.id: game for game in tasks.open(games)}
        environment = kind_of(stage.experiment.environment.kind)
        inputs = Inputs(policy.path, reward.path, rollouts.path, read, there, environment)
        kind = improvement_kind(settings.kind)
        return kind.improve(inputs, stage.experiment, out, seed=stage.seed, monitor=monitor, resume=resume)

    return stage.make(
        train,
        settings=("improvement", *settings.sections),
        games=games,
        announces=None if last else stage.iteration + 1,
        code=[KINDS[settings.kind]],
    )
