"""What the expert shows."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.core.demonstrations import collect_demonstrations, demonstrations_report
from agentprm_dagster.core.stage import Monitor, StageReport
from agentprm_dagster.core.tables import write_episodes
from agentprm_dagster.iterations import WHEN_READY
from agentprm_dagster.resources.materialization import gates
from agentprm_dagster.resources.stages import StagesResource


@dg.asset(
    check_specs=gates("demonstrations", "expert_success"),
    automation_condition=WHEN_READY,
    kinds={"episodes"},
)
def demonstrations(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """Episodes in which an expert plays training games, won and lost ones: made once, for all iterations.

    pi_0 learns from the won ones.
    """
    stage = stages.stage(context)
    settings = stage.experiment.demonstrations
    games = stage.games.demonstrated(stage.experiment, settings.episodes, stage.seed)

    def collect(out: Path, monitor: Monitor) -> StageReport:
        episodes = collect_demonstrations(
            stage.games.play(games),
            expert=settings.expert,
            episodes=settings.episodes,
            max_steps=settings.max_steps,
            seed=stage.seed,
            slips=settings.slips,
            monitor=monitor,
            keep_candidates=stage.experiment.dialogue.format == "restated",
        )
        write_episodes(episodes, out)
        return demonstrations_report(episodes, min_success=stage.experiment.gates.min_demonstration_success)

    return stage.make(collect, settings=("demonstrations", "gates.min_demonstration_success"), games=games)
