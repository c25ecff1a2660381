"""Stage 1 of the paper's Algorithm 1: the policy explores."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.core.rollout import rollouts_report
from agentprm_dagster.core.stage import Monitor, StageReport
from agentprm_dagster.core.tables import write_episodes
from agentprm_dagster.iterations import ITERATIONS, WHEN_READY
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.materialization import gates
from agentprm_dagster.resources.stages import StagesResource


@dg.asset(
    partitions_def=ITERATIONS,
    # pi_0 itself is not read here; naming it makes a run of the whole graph wait until it has been announced.
    deps=["behaviour_policy", "initial_policy"],
    check_specs=gates("rollouts", "parse_failures", "both_outcomes"),
    automation_condition=WHEN_READY,
    kinds={"episodes"},
)
def rollouts(
    context: dg.AssetExecutionContext, stages: StagesResource, inference: InferenceResource
) -> dg.MaterializeResult:
    """Episodes of the behaviour policy on training games: whole ones, and branches from states along them."""
    stage = stages.stage(context)
    settings, limits = stage.experiment.rollouts, stage.experiment.gates
    policy = stage.behaviour_policy()
    games = stage.games.explored(stage.experiment, settings.games, stage.seed)

    def collect(out: Path, monitor: Monitor) -> StageReport:
        played = inference.rollouts(policy.path, stage.experiment, games, seed=stage.seed, monitor=monitor)
        write_episodes(played.episodes, out)
        return rollouts_report(
            played.episodes,
            played.usage,
            max_parse_failures=limits.max_parse_failures,
            min_wins=limits.min_wins,
            min_losses=limits.min_losses,
        )

    judged = ("gates.max_parse_failures", "gates.min_wins", "gates.min_losses")
    return stage.make(collect, settings=("dialogue", "rollouts", *judged), games=games)
