"""How often and how fast the expert won."""

from collections.abc import Sequence

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Gate, StageReport


def demonstrations_report(episodes: Sequence[Episode], *, min_success: float) -> StageReport:
    """How often and how fast the expert won; only won episodes are learnt from."""
    won = [episode for episode in episodes if episode.won]
    turns = sum(len(episode.turns) for episode in won)
    share = len(won) / len(episodes)
    metrics = {
        "episodes": len(episodes),
        "success_rate": share,
        **({"mean_actions_won": turns / len(won)} if won else {}),
        "turns": turns,
        "action_noise": sum(not turn.admissible for episode in won for turn in episode.turns),
        "games": len({episode.game for episode in episodes}),
    }
    gate = Gate(
        "expert_success",
        share >= min_success,
        f"the expert won {len(won)} of {len(episodes)} games ({share:.1%}); expected at least {min_success:.0%}: raise "
        "demonstrations.max_steps or choose another expert",
        share,
    )
    return StageReport(metrics, (gate,), _preview(won[:1], metrics))


def copies_numbers(episodes: Sequence[Episode]) -> dict[str, float]:
    """How many won copies there are, and how long they are."""
    won = [len(episode.turns) for episode in episodes if episode.won]
    return {"copies": len(won), "mean_actions_of_copies": sum(won) / len(won)} if won else {}


def _preview(sample: Sequence[Episode], metrics: dict[str, float]) -> str:
    table = "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return table + "\n\n" + "\n\n".join(map(transcript, sample))


def transcript(episode: Episode) -> str:
    """An episode as markdown that a person reads."""
    turns = "\n".join(f"{turn.response}\n\n> {turn.observation}\n" for turn in episode.turns)
    outcome = "won" if episode.won else "lost"
    return (
        f"**{episode.episode_id}** ({outcome}, {len(episode.turns)} actions)\n\n{episode.first_observation}\n\n{turns}"
    )
