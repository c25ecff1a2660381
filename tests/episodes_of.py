"""Episodes by what matters of them: their actions and how they ended."""

from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Turn


def episode_of(
    name: str, actions: str, reward: float, *, game: str = "g", start: int = 0, parent: str | None = None
) -> Episode:
    """An episode whose actions are these letters; each is replied to with the letters so far."""
    turns = tuple(
        Turn("So.", letter, f"You did {actions[: t + 1]}.", write_answer("So.", letter))
        for t, letter in enumerate(actions)
    )
    return Episode(name, game, "kind", f"You are in {game}.", turns, reward, start=start, parent=parent)
