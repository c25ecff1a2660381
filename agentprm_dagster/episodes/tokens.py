"""An episode as the token ids that a model reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentprm_dagster.episodes.records import Episode


@dataclass(frozen=True, slots=True)
class EpisodeTokens:
    """One conversation with turns of an episode: many in the `append` format, one where it restates those before it."""

    ids: list[int]
    """All tokens up to the end of the last answer."""
    answers: list[tuple[int, int]]
    """[start, end) of the answer of each of `turns`, its end token included."""
    episode: Episode
    turns: list[int]
    """Which turns of the episode are asked about, in their order."""

    @property
    def states(self) -> list[int]:
        """How many of the ids make up the state before each answer."""
        return [start for start, _ in self.answers]

    @property
    def prompt(self) -> list[int]:
        """The ids up to where the last answer begins; every state is a part of them."""
        return self.ids[: self.states[-1]]

    def only(self, places: Sequence[int]) -> "EpisodeTokens":
        """The same asked about fewer turns, by their places in `turns`."""
        answers = [self.answers[i] for i in places]
        return EpisodeTokens(self.ids[: answers[-1][1]], answers, self.episode, [self.turns[i] for i in places])
