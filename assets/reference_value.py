"""V_mu, what states are worth to the demonstrator: process reward shaping (section 4 of the paper)."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.iterations import WHEN_READY
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    deps=["demonstrations", "initial_policy"],
    check_specs=gates("reference_value", "better_than_constant"),
    automation_condition=WHEN_READY,
    kinds={"reward_model", "huggingface"},
)
def reference_value(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """V_mu(s), learnt from the demonstrations' own returns; shaped targets say how far an action went by it."""
    stage = stages.stage(context)
    settings = stage.settings("targets.value", "targets.gamma", "targets.held_out_games", "gates.max_prm_loss")
    targets = settings.targets
    demonstrated, policy = stage.read("demonstrations", 0), stage.read("initial_policy", 0)

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        from agentprm_dagster.training.reference_value import train_reference_value  # loads torch

        demonstrations = read_episodes(demonstrated.path)
        return train_reference_value(
            policy.path,
            demonstrations,
            stage.kind.wording,
            targets.value,
            out,
            gamma=targets.gamma,
            max_loss=settings.gates.max_prm_loss,
            held_out=hold_out({each.game for each in demonstrations}, targets.held_out_games, stage.experiment_seed),
            job=stage.job(monitor, resume),
        )

    return stage.make(train)
