"""What rollouts brought: how often the policy won, from where, and whether a PRM can learn from it."""

from collections.abc import Sequence

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.rollouts.coverage import KINDS, PICTURE, Coverage, kind_of


def rollouts_report(
    episodes: Sequence[Episode],
    usage: Usage,
    *,
    coverage: Coverage,
    max_parse_failures: float,
    min_wins: int,
    min_losses: int,
) -> StageReport:
    """Counts of everything that was played; gates on parse failures and on both outcomes being there.

    The success rate is that of episodes from their game's start; those from states along an expert's are told apart.
    """
    by_kind = {kind: [episode for episode in episodes if kind_of(episode) == kind] for kind in KINDS}
    resets = by_kind["reset"]
    reset_success = {f"reset_{name}": value for name, value in _success(resets).items()}
    turns = [turn for episode in episodes for turn in episode.own_turns]
    wins = sum(episode.won for episode in episodes)
    losses = len(episodes) - wins
    unparsed = sum(not turn.parsed for turn in turns) / len(turns)
    inadmissible = sum(not turn.admissible for turn in turns) / len(turns)
    metrics = {
        "episodes": len(episodes),
        "whole_episodes": len(by_kind["whole"]) + len(resets),
        "resets": len(resets),
        "branches": len(by_kind["branch"]),
        "decisions": len(turns),
        **_success(by_kind["whole"]),
        "parse_failures": unparsed,
        "inadmissible_actions": inadmissible,
        **reset_success,
        **coverage.metrics(),
    }
    gates = (
        Gate(
            "parse_failures",
            unparsed <= max_parse_failures,
            f"{unparsed:.1%} of {len(turns)} answers were not in the agreed form; at most {max_parse_failures:.1%} "
            "may be: train the policy longer or lower the temperature",
            unparsed,
        ),
        Gate(
            "both_outcomes",
            wins >= min_wins and losses >= min_losses,
            f"{wins} episodes won and {losses} lost; a PRM needs at least {min_wins} and {min_losses} to tell good "
            "from bad: play more games, or change how hard they are",
            min(wins, losses),
        ),
    )
    # The page is part of the artifact, which is the same from the same seed: times are not.
    return StageReport({**metrics, **usage.metrics()}, gates, _preview(metrics))


def _success(episodes: Sequence[Episode]) -> dict[str, float]:
    """How many were won, and how many actions they took themselves; nothing where there are none."""
    if not episodes:
        return {}
    return {
        "success_rate": sum(episode.won for episode in episodes) / len(episodes),
        "mean_actions": sum(len(episode.own_turns) for episode in episodes) / len(episodes),
    }


def _preview(metrics: dict[str, float]) -> str:
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return f"| | |\n|---|---|\n{rows}\n\n![distinct states over decisions]({PICTURE})\n"
