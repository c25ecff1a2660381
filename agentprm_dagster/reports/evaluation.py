"""How good a policy is: success rates with the interval they are known to, overall and by task type."""

import re
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from statistics import fmean
from typing import Any

from agentprm_dagster.algorithm.statistics import wilson_interval
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.episodes.usage import Usage

EVALUATION = "evaluation.json"
"""The file of an artifact that holds rows."""

GAMES_ALONE = (
    "The intervals of one seed are those of the games alone: another seed, or another processor, trains another policy."
)


def success(episodes: Sequence[Episode]) -> dict[str, Any]:
    """n, successes, success_rate, ci_low, ci_high (95%), mean_reward, mean_actions, mean_actions_won (None without a
    win).
    """
    won = [len(episode.turns) for episode in episodes if episode.won]
    low, high = wilson_interval(len(won), len(episodes))
    return {
        "n": len(episodes),
        "successes": len(won),
        "success_rate": len(won) / len(episodes),
        "ci_low": low,
        "ci_high": high,
        "mean_reward": fmean(episode.reward for episode in episodes),
        "mean_actions": sum(len(episode.turns) for episode in episodes) / len(episodes),
        "mean_actions_won": sum(won) / len(won) if won else None,
    }


def evaluation_row(
    episodes: Sequence[Episode],
    *,
    experiment: str,
    ranked_by: str | None,
    policy: str,
    iteration: int | None,
    split: str,
    max_steps: int,
    best_of: int,
    seed: int,
    tokens: int,
    world: str | None,
    horizon: int,
    kinds: Iterable[str],
) -> dict[str, Any]:
    """One evaluation: who played which games how, and `success` overall and by task type, in the order of `kinds`.

    `ranked_by` is what chose among `best_of` answers, None where the policy answered alone; `world` is the one
    (`learned`, `oracle`) in which `horizon` turns were predicted before, None where nothing was; `iteration` is
    None for a policy that no iteration made; `tokens` are those that all models read and drew.
    """
    by_kind = {kind: [episode for episode in episodes if episode.task_type == kind] for kind in kinds}
    return {
        "experiment": experiment,
        "ranked_by": ranked_by,
        "policy": policy,
        "iteration": iteration,
        "split": split,
        **success(episodes),
        "max_steps": max_steps,
        "best_of": best_of,
        "world": world,
        "horizon": horizon,
        "seed": seed,
        "tokens_per_decision": tokens / sum(len(episode.turns) for episode in episodes),
        "by_task_type": {kind: success(played) for kind, played in by_kind.items() if played},
    }


def evaluation_name(row: Mapping[str, Any]) -> str:
    """What an evaluation is called among the metrics; no two rows of an experiment share it."""
    # MLflow allows no other characters in a metric's name.
    policy = re.sub(r"[^\w.:/-]+", " ", row["policy"], flags=re.ASCII).strip()
    return f"{row['split']} {policy} {choice_name(row)}"


def choice_name(row: Mapping[str, Any]) -> str:
    """How answers were chosen: `best of 4 by prm`; `best of 4 by prm 2 ahead learned` where 2 turns were predicted."""
    judged = f" by {row['ranked_by']}" if row["ranked_by"] else ""
    ahead = f" {row['horizon']} ahead {row['world']}" if row["world"] else ""
    return f"best of {row['best_of']}{judged}{ahead}"


def folder_name(row: Mapping[str, Any]) -> str:
    """Where the episodes of an evaluation lie in its report; needs no more of a row than what tells it from others."""
    judged = f"-{row['ranked_by']}" if row["ranked_by"] else ""
    ahead = f"-{row['horizon']}_ahead_{row['world']}" if row["world"] else ""
    return f"{row['split']}-{row['policy']}-best_of_{row['best_of']}{judged}{ahead}"


def in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the last policy wins by itself on every split, and what the first one does; nothing of no iteration's."""
    lines = []
    greedy = [row for row in rows if row["iteration"] is not None and row["ranked_by"] is None]
    for split in dict.fromkeys(row["split"] for row in greedy):
        of_split = sorted((row for row in greedy if row["split"] == split), key=itemgetter("iteration"))
        first, last = of_split[0], of_split[-1]
        beside = f", {_rate(first)}" if first is not last else ""
        lines.append(f"- {split}: **{_rate(last)}**{beside} of {last['n']:,} games")
    return "\n".join(lines)


def _rate(row: Mapping[str, Any]) -> str:
    return f"{row['policy']} {row['success_rate']:.1%} ({row['ci_low']:.1%} to {row['ci_high']:.1%})"


def evaluation_report(
    rows: Sequence[Mapping[str, Any]], games: Mapping[str, int], usage: Usage, picture: str | None = None
) -> StageReport:
    """Success of every row; a gate on every game of every split having been played once, `games` telling how many.

    `picture` names a file beside the page that shows how success grows with N.
    """
    short = [
        f"{row['n']} of {games[row['split']]} of {row['split']}" for row in rows if row["n"] != games[row["split"]]
    ]
    gate = Gate(
        "all_games_accounted_for",
        not short,
        f"evaluated {', '.join(short) or 'every game'}; expected every game of every split once",
        float(len(short)),
    )
    metrics = {evaluation_name(row): float(row["success_rate"]) for row in rows}
    lines = [
        f"| {row['split']} | {row['policy']} | {row['best_of']} | {row['ranked_by'] or ''} | {_ahead(row)} "
        f"| {row['n']} | {row['success_rate']:.1%} | {row['ci_low']:.1%} to {row['ci_high']:.1%} "
        f"| {row['mean_actions']:.1f} | {row['tokens_per_decision']:.0f} |"
        for row in rows
    ]
    columns = (
        "split",
        "policy",
        "best of",
        "ranked by",
        "world",
        "n",
        "success",
        "95% interval",
        "actions",
        "tokens a decision",
    )
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    pictures = [f"\n![success over N]({picture})\n"] if picture else []
    if any(row["iteration"] is not None for row in rows):  # what no iteration made was not trained here
        pictures.append(f"\n{GAMES_ALONE} The page of `results` shows what several seeds gave.\n")
    said = [f"{words}\n"] if (words := in_words(rows)) else []
    decisions = round(sum(row["n"] * row["mean_actions"] for row in rows))
    return StageReport(
        {**metrics, "decisions": decisions, **usage.metrics()}, (gate,), "\n".join([*said, head, *lines, *pictures])
    )


def _ahead(row: Mapping[str, Any]) -> str:
    return f"{row['horizon']} {row['world']}" if row["world"] else ""
