"""Trains PRMs on disjoint games."""

from dataclasses import replace

from agentprm_dagster.algorithm.held_out import part_of_game
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.request import Request
from agentprm_dagster.training.hacking import hacking


def train(request: Request, job: Job) -> StageReport:
    """`improvement.panel.committee` PRMs, each on its own share of the games, one after the other."""
    import pandas as pd

    from agentprm_dagster.training.process_reward_model import train_prm  # loads torch

    settings, inputs = request.settings, request.inputs
    members = settings.improvement.panel.committee
    episodes, table = read_episodes(inputs["rollouts"]), pd.read_parquet(inputs["mc_value_targets"] / "targets.parquet")
    judged = set(table.loc[table["held_out"], "game"])
    reports = []
    for member in range(members):
        own = [
            episode
            for episode in episodes
            if episode.game in judged or part_of_game(episode.game, members, request.experiment_seed) == member
        ]
        folder = request.out / f"member_{member}"
        folder.mkdir(exist_ok=True)  # of several processes one is first
        reports.append(
            train_prm(
                inputs["behaviour_policy"],
                own,
                table,
                settings.prm,
                request.wording,
                folder,
                dialogue=settings.dialogue.format,
                max_loss=settings.gates.max_prm_loss,
                min_ordering=0.0,
                rank_by=settings.improvement.rank_by,
                hacking=hacking(settings, relative=settings.prm.loss == "relative"),
                base=settings.model if settings.prm.init == "base" else None,
                job=replace(job.part(folder.name), seed=request.seed + member),
            )
        )
    return _together(reports)


def _together(reports: list[StageReport]) -> StageReport:
    """Every member's numbers, and the verdicts on the one that knows least and on the one that is pleased most."""
    from agentprm_dagster.reports.hackable_report import GATE
    from agentprm_dagster.reports.prm_report import PICTURE  # loads pandas

    metrics = {f"member_{i} {name}": value for i, each in enumerate(reports) for name, value in each.metrics.items()}
    metrics["tokens"] = sum(each.metrics["tokens"] for each in reports)
    verdicts = [gate for each in reports for gate in each.gates if gate.name == "better_than_constant"]
    worst = next((gate for gate in verdicts if not gate.passed), verdicts[0])
    pleased = max(
        (gate for each in reports for gate in each.gates if gate.name == GATE), key=lambda gate: gate.value or 0.0
    )
    pages = [each.preview.replace(f"]({PICTURE})", f"](member_{i}/{PICTURE})") for i, each in enumerate(reports)]
    losses = [each.metrics["held_out_loss"] for each in reports]
    words = f"- Held-out losses of {len(reports)} PRMs on disjoint games: {min(losses):.3f} to **{max(losses):.3f}**"
    page = "\n\n".join([words, *(f"**member {i}**\n\n{each}" for i, each in enumerate(pages))])
    return StageReport(metrics, (worst, pleased), page)
