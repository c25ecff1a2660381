"""How many tokens dialogues have, by their format."""

from dataclasses import dataclass

from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.planning.assumptions import Assumptions


@dataclass(frozen=True, slots=True)
class Dialogues:
    """Episodes as they are read, all of the length that is assumed."""

    dialogue: Format
    assumed: Assumptions
    answer: float
    """Tokens of an answer."""

    @classmethod
    def of(cls, dialogue: Format, assumed: Assumptions, most: int | None = None) -> "Dialogues":
        """With answers of at most so many tokens, or as long as an expert's."""
        return cls(dialogue, assumed, assumed.answer if most is None else min(assumed.answer, most))

    def state(self, turn: float) -> float:
        """Tokens before the answer after so many turns."""
        if self.dialogue == "restated":
            return self.assumed.restated + turn * self.assumed.remembered
        return self.assumed.opening + turn * (self.answer + self.assumed.observation)

    def rows(self, turns: float) -> float:
        """Conversations that an episode is trained on as: one, or one a turn."""
        return turns if self.dialogue == "restated" else 1.0

    def row(self, turns: float) -> float:
        """Mean tokens of such a conversation."""
        if self.dialogue == "restated":
            return self.state((turns - 1) / 2) + self.answer
        return self.state(turns)

    def longest(self, turns: float) -> float:
        """Tokens of the longest of them."""
        return self.state(turns - 1) + self.answer

    def episode(self, turns: float) -> float:
        """Tokens that training reads of an episode."""
        return self.rows(turns) * self.row(turns)

    def read(self, turns: float) -> float:
        """Tokens that an engine reads to play an episode, if it keeps what it has read."""
        if self.dialogue == "restated":
            return self.state(0) + (turns - 1) * self.assumed.fresh
        return self.state(turns) - turns * self.answer
