"""What every action was worth: the paper's Eq. 1."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.algorithm.shaping import shaped_targets
from agentprm_dagster.algorithm.targets import mc_value_targets as targets_of
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import iter_episodes, read_episodes
from agentprm_dagster.iterations import ITERATIONS, WHEN_READY
from agentprm_dagster.reports.targets_report import targets_report
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["rollouts", "reference_value"],
    check_specs=gates("mc_value_targets", "targets_in_unit_interval", "targets_differ"),
    automation_condition=WHEN_READY,
    kinds={"table"},
)
def mc_value_targets(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """The mean discounted outcome of every state and action over the whole rollout set, with visit counts.

    With `targets.shaped` also the reference's advantage, and both blended.
    """
    stage = stages.stage(context)
    settings = stage.experiment.targets
    rollouts = stage.read("rollouts")
    reference = stage.read("reference_value", 0) if settings.shaped else None

    def compute(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        targets = targets_of(
            iter_episodes(rollouts.path),
            gamma=settings.gamma,
            weighting=settings.weighting,
            held_out_games=settings.held_out_games,
            seed=stage.experiment.seed,
        )
        if reference:
            from agentprm_dagster.training.reference_value import reference_advantages  # loads torch

            gained = reference_advantages(reference.path, read_episodes(rollouts.path), targets, stage.experiment)
            targets = shaped_targets(targets, gained, alpha=stage.experiment.shaping.alpha)
        targets.to_parquet(out / "targets.parquet", index=False)
        return targets_report(targets)

    return stage.make(compute, settings=("targets", *(("shaping.alpha",) if reference else ())))
