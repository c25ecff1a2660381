"""PRMs trained on disjoint games: where they disagree, none of them knows."""

from dataclasses import replace
from pathlib import Path

import dagster as dg

from agentprm_dagster.algorithm.held_out import part_of_game
from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.episodes.stage import Monitor, PartMonitor, Resume, StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.iterations import ITERATIONS, WHEN_READY
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "rollouts", "mc_value_targets"],
    check_specs=gates("prm_committee", "better_than_constant"),
    automation_condition=WHEN_READY,
    kinds={"reward_model", "huggingface"},
)
def prm_committee(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """`improvement.panel.committee` PRMs, each trained on its own share of the games; all are judged on the same."""
    stage = stages.stage(context)
    settings = stage.settings(
        "dialogue", "prm", "improvement.panel.committee", "improvement.rank_by", "gates.max_prm_loss"
    )
    members = settings.improvement.panel.committee
    base = stage.settings("model").model if settings.prm.init == "base" else None
    policy, rollouts, targets = stage.behaviour_policy(), stage.read("rollouts"), stage.read("mc_value_targets")

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        import pandas as pd

        from agentprm_dagster.training.process_reward_model import train_prm  # loads torch

        episodes, table = read_episodes(rollouts.path), pd.read_parquet(targets.path / "targets.parquet")
        judged = set(table.loc[table["held_out"], "game"])
        reports = []
        for member in range(members):
            own = [
                episode
                for episode in episodes
                if episode.game in judged or part_of_game(episode.game, members, stage.experiment_seed) == member
            ]
            folder = out / f"member_{member}"
            folder.mkdir()
            reports.append(
                train_prm(
                    policy.path,
                    own,
                    table,
                    settings.prm,
                    stage.kind.wording,
                    folder,
                    dialogue=settings.dialogue.format,
                    max_loss=settings.gates.max_prm_loss,
                    min_ordering=0.0,
                    rank_by=settings.improvement.rank_by,
                    base=base,
                    job=replace(
                        stage.job(PartMonitor(f"member {member}", monitor), resume).part(f"member_{member}"),
                        seed=stage.seed + member,
                    ),
                )
            )
        return _together(reports)

    return stage.make(train, identity=base_identity(base) if base else None)


def _together(reports: list[StageReport]) -> StageReport:
    """Every member's numbers, and the verdict on the one that knows least."""
    metrics = {f"member_{i} {name}": value for i, each in enumerate(reports) for name, value in each.metrics.items()}
    metrics["tokens"] = sum(each.metrics["tokens"] for each in reports)
    verdicts = [gate for each in reports for gate in each.gates if gate.name == "better_than_constant"]
    worst = next((gate for gate in verdicts if not gate.passed), verdicts[0])
    page = "\n\n".join(f"**member {i}**\n\n{each.preview}" for i, each in enumerate(reports))
    return StageReport(metrics, (worst,), page)
