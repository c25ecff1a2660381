"""Trains the process reward model learnt from demonstrations: the paper's Eqs. 6 to 10."""

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.episodes.unrewarded import without_outcomes
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.request import Request
from agentprm_dagster.training.hacking import hacking

ROLLOUTS = "rollouts_"
"""What the role of an iteration's rollouts begins with; its number follows."""


def train(request: Request, job: Job) -> StageReport:
    """Reads the rollouts of all iterations so far, the current ones last; targets only say how it orders."""
    import pandas as pd

    from agentprm_dagster.reports.inverse_report import inverse_report
    from agentprm_dagster.training.hackable import with_hackability_of_saved
    from agentprm_dagster.training.inverse_prm import score_decisions, train_inverse_prm  # loads torch

    settings, inputs, dialogue = request.settings, request.inputs, request.settings.dialogue.format
    how, expert = settings.inverse_prm, without_outcomes(read_episodes(inputs["demonstrations"]))
    played = sorted((int(role.removeprefix(ROLLOUTS)), role) for role in inputs if role.startswith(ROLLOUTS))
    *past, current = [read_episodes(inputs[role]) for _, role in played]
    learners = without_outcomes(each for episodes in past for each in episodes if each.parent is None)
    own = without_outcomes(each for each in current if how.branches or each.parent is None)
    games = {episode.game for episode in (*expert, *learners, *own)}
    held_out = hold_out(games, settings.targets.held_out_games, request.experiment_seed)
    discrimination = train_inverse_prm(
        inputs["behaviour_policy"],
        expert,
        learners,
        own,
        how,
        request.wording,
        request.out,
        dialogue=dialogue,
        temperature=settings.rollouts.temperature,
        max_new_tokens=settings.rollouts.max_new_tokens,
        held_out=held_out,
        job=job,
    )
    unknown = [episode for episode in current if episode.game in held_out]
    table = pd.read_parquet(inputs["mc_value_targets"] / "targets.parquet")
    scored = score_decisions(request.out, unknown, table, request.wording, dialogue=dialogue, budget=how.batch_tokens)
    report = inverse_report(discrimination, scored, max_loss=settings.gates.max_prm_loss)
    return with_hackability_of_saved(
        report,
        request.out,
        request.wording,
        unknown,
        read_episodes(inputs["demonstrations"]),
        dialogue,
        hacking(settings, relative=True),
        budget=how.batch_tokens,
        trained_tokens=report.metrics["tokens"],
        seed=request.seed,
    )
