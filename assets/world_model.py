"""What the environment replies: the world model of model-predictive reasoning (section 4.3 of the paper)."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.iterations import ITERATIONS, WHEN_READY
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "demonstrations", "rollouts"],
    check_specs=gates("world_model", "better_than_constant"),
    automation_condition=WHEN_READY,
    kinds={"world_model", "huggingface"},
)
def world_model(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """p(observation | dialogue, answer): the behaviour policy, taught what the environment replies."""
    stage = stages.stage(context)
    settings = stage.settings("world_model", "targets.held_out_games", "gates.min_world_exact")
    policy, demonstrated, rollouts = stage.behaviour_policy(), stage.read("demonstrations", 0), stage.read("rollouts")

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        from agentprm_dagster.training.world_model import train_world_model  # loads torch

        demonstrations, played = read_episodes(demonstrated.path), read_episodes(rollouts.path)
        games = {episode.game for episode in (*demonstrations, *played)}
        return train_world_model(
            policy.path,
            demonstrations,
            played,
            settings.world_model,
            stage.kind.wording,
            out,
            min_exact=settings.gates.min_world_exact,
            held_out=hold_out(games, settings.targets.held_out_games, stage.experiment_seed),
            job=stage.job(monitor, resume),
        )

    return stage.make(train)
