"""The process reward model learnt from demonstrations: the paper's Eqs. 6 to 10. No outcome is read."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.episodes.unrewarded import without_outcomes
from agentprm_dagster.iterations import FIRST, ITERATIONS, WHEN_READY
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "demonstrations", "rollouts", "mc_value_targets"],
    check_specs=gates("inverse_prm", "tells_expert_from_learners"),
    automation_condition=WHEN_READY,
    kinds={"reward_model", "huggingface"},
)
def inverse_prm(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """Q(s, a), high where the expert acts and low where all policies so far do; targets only say how it orders."""
    stage = stages.stage(context)
    policy, demonstrations = stage.behaviour_policy(), stage.read("demonstrations", 0)
    played = [stage.read("rollouts", i, role=f"rollouts_{i}") for i in range(FIRST, stage.iteration + 1)]
    targets = stage.read("mc_value_targets")
    settings = stage.settings(
        "dialogue",
        "inverse_prm",
        "rollouts.temperature",
        "rollouts.max_new_tokens",
        "targets.held_out_games",
        "gates.max_prm_loss",
    )
    with_branches, dialogue, wording = settings.inverse_prm.branches, settings.dialogue.format, stage.kind.wording

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        import pandas as pd

        from agentprm_dagster.reports.inverse_report import inverse_report
        from agentprm_dagster.training.inverse_prm import score_decisions, train_inverse_prm  # loads torch

        expert = without_outcomes(read_episodes(demonstrations.path))
        *past, current = [read_episodes(artifact.path) for artifact in played]
        learners = without_outcomes(each for episodes in past for each in episodes if each.parent is None)
        own = without_outcomes(each for each in current if with_branches or each.parent is None)
        games = {episode.game for episode in (*expert, *learners, *own)}
        held_out = hold_out(games, settings.targets.held_out_games, stage.experiment_seed)
        discrimination = train_inverse_prm(
            policy.path,
            expert,
            learners,
            own,
            settings.inverse_prm,
            wording,
            out,
            dialogue=dialogue,
            temperature=settings.rollouts.temperature,
            max_new_tokens=settings.rollouts.max_new_tokens,
            held_out=held_out,
            job=stage.job(monitor, resume),
        )
        unknown = [episode for episode in current if episode.game in held_out]
        table, budget = pd.read_parquet(targets.path / "targets.parquet"), settings.inverse_prm.batch_tokens
        scored = score_decisions(out, unknown, table, wording, dialogue=dialogue, budget=budget)
        return inverse_report(discrimination, scored, max_loss=settings.gates.max_prm_loss)

    return stage.make(train)
