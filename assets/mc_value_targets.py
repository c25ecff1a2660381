"""What every action was worth: the paper's Eq. 1."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.iterations import FIRST, ITERATIONS, MACHINE
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates
from agentprm_dagster.targets.kinds import KINDS, target_kind


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["rollouts", "reference_value"],
    check_specs=gates("mc_value_targets", "targets_in_unit_interval", "targets_differ"),
    pool=MACHINE,
    kinds={"table"},
)
@in_own_words
def mc_value_targets(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource
) -> dg.MaterializeResult:
    """The mean discounted outcome of every state and action over the whole rollout set, with visit counts.

    Other kinds of target (`targets.kind`) say beside it what a PRM is to learn.
    """
    stage = stages.stage(context)
    settings, wording = stage.settings("targets").targets, stage.kind.wording
    rollouts, kind = stage.read("rollouts"), target_kind(settings.kind)
    read = {asset: stage.read(asset, 0).path for asset in kind.READS}
    for asset in settings.reads_last if stage.iteration > FIRST else ():
        role = f"last_{asset}"
        read[role] = stage.read(asset, stage.iteration - 1, role=role).path
    games: tuple[TaskRef, ...] = ()
    if kind.REPLAYS:
        around, order = stage.unrecorded("rollouts.games"), rollouts.manifest.seeds["stage"]
        games = tasks.explored(stage.environment, stage.experiment_seed, around.rollouts.games, order)
        stage.refuse_other_games("rollouts", games)

    def compute(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        from agentprm_dagster.reports.targets_report import targets_report  # loads pandas

        targets = kind.compute(rollouts.path, settings, read, wording, stage.experiment_seed, games)
        targets.to_parquet(out / "targets.parquet", index=False)
        return targets_report(targets)

    return stage.make(compute, games=games, code=[KINDS[settings.kind]])
