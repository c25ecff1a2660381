"""The process reward model: the paper's Eq. 2."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.iterations import FIRST, ITERATIONS, WHEN_READY
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "rollouts", "mc_value_targets"],
    check_specs=gates("prm", "better_than_constant", "orders_actions"),
    automation_condition=WHEN_READY,
    kinds={"reward_model", "huggingface"},
)
def prm(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """Q(s, a) of the behaviour policy, learnt from the targets by soft binary cross-entropy."""
    stage = stages.stage(context)
    policy, rollouts, targets = stage.behaviour_policy(), stage.read("rollouts"), stage.read("mc_value_targets")
    settings = stage.settings(
        "dialogue", "prm", "improvement.rank_by", "gates.max_prm_loss", "gates.min_ordering_accuracy"
    )
    base = stage.settings("model").model if settings.prm.init == "base" else None
    continued = settings.prm.init == "previous" and stage.iteration > FIRST
    previous = stage.read("prm", stage.iteration - 1, role="previous_prm") if continued else None

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        import pandas as pd

        from agentprm_dagster.training.process_reward_model import train_prm  # loads torch

        return train_prm(
            policy.path,
            read_episodes(rollouts.path),
            pd.read_parquet(targets.path / "targets.parquet"),
            settings.prm,
            stage.kind.wording,
            out,
            dialogue=settings.dialogue.format,
            max_loss=settings.gates.max_prm_loss,
            min_ordering=settings.gates.min_ordering_accuracy,
            rank_by=settings.improvement.rank_by,
            base=base,
            previous=previous.path if previous else None,
            job=stage.job(monitor, resume),
        )

    return stage.make(train, identity=base_identity(base) if base else None)
