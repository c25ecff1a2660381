"""Plays in which a policy is judged: how its games are played, once each, and the row of the table that comes of it."""

from pathlib import Path
from typing import Any

from agentprm_dagster.config import Rollouts
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.launch.play import Choice, Play, Valued
from agentprm_dagster.launch.pool import Played
from agentprm_dagster.reports.evaluation import evaluation_row, folder_name
from agentprm_dagster.reports.results import Row
from agentprm_dagster.reports.watched import Watched

FEW = 24
"""Episodes of which all are worth reading."""


def once(settings: Any, max_steps: int, choice: Choice | None) -> Rollouts:
    """How games are played to judge a policy that chooses in this way.

    `settings` has `evaluation`, `rollouts.slots` and `rollouts.max_new_tokens`, as an experiment has them.
    """
    evaluation, rollouts = settings.evaluation, settings.rollouts
    return Rollouts(
        per_game=1,
        branch_states=0,
        max_steps=max_steps,
        temperature=evaluation.best_of_temperature if choice else evaluation.temperature,
        slots=rollouts.slots,
        max_new_tokens=rollouts.max_new_tokens,
    )


def valued_by(prm: Path, games: int, *, observations: bool) -> Valued:
    """A PRM that reads a part of so many games, as what it reads of all takes about a fifth of what playing them does,
    Best-of-N included: every tenth, of few games more, of the fewest all.
    """
    return Valued(prm, observations, every=min(max(games // FEW, 1), 10))


def watched_of(play: Play, played: Played) -> list[Watched]:
    """What was played, to be looked at: the episodes that a PRM has read, or all where it has read none."""
    read = [episode for episode in played.episodes if episode.episode_id in played.values] or played.episodes
    by = f"pi_{play.iteration}, {play.split}"
    return [Watched(episode, played.values.get(episode.episode_id, ()), by) for episode in read]


def name_of(play: Play) -> str:
    """Names the play among others of its experiment; fit for a folder."""
    return folder_name(_known_by(play))


def row_of(play: Play, played: Played, experiment: str) -> Row:
    """The row of the table for what was played."""
    return evaluation_row(
        played.episodes,
        experiment=experiment,
        iteration=play.iteration,
        max_steps=play.how.max_steps,
        seed=play.seed,
        tokens=played.usage.tokens,
        kinds=kind_of(play.environment).task_kinds,
        **_known_by(play),
    )


def _known_by(play: Play) -> dict[str, Any]:
    """What tells the play from others, as the table's rows have it."""
    ahead = play.choice.lookahead if play.choice else None
    return {
        "ranked_by": play.choice.ranked_by if play.choice else None,
        "policy": f"pi_{play.iteration}",
        "split": play.split,
        "best_of": play.choice.best_of if play.choice else 1,
        "world": ("learned" if ahead.world else "oracle") if ahead else None,
        "horizon": ahead.turns if ahead else 0,
    }
