"""What every action was worth: the paper's Eq. 1."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.core.stage import Monitor, StageReport
from agentprm_dagster.core.tables import iter_episodes
from agentprm_dagster.core.targets import mc_value_targets as targets_of
from agentprm_dagster.core.targets import targets_report
from agentprm_dagster.iterations import ITERATIONS, WHEN_READY
from agentprm_dagster.resources.materialization import gates
from agentprm_dagster.resources.stages import StagesResource


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["rollouts"],
    check_specs=gates("mc_value_targets", "targets_in_unit_interval", "targets_differ"),
    automation_condition=WHEN_READY,
    kinds={"table"},
)
def mc_value_targets(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """The mean discounted outcome of every state and action over the whole rollout set, with visit counts."""
    stage = stages.stage(context)
    settings = stage.experiment.targets
    rollouts = stage.read("rollouts")

    def compute(out: Path, monitor: Monitor) -> StageReport:
        targets = targets_of(
            iter_episodes(rollouts.path),
            gamma=settings.gamma,
            weighting=settings.weighting,
            held_out_games=settings.held_out_games,
            seed=stage.experiment.seed,
        )
        targets.to_parquet(out / "targets.parquet", index=False)
        return targets_report(targets)

    return stage.make(compute, settings=("targets",))
