"""What a judge said of the candidates of an episode, turn by turn, for a person to look at."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentprm_dagster.agents.best_of_n import Future, Judge
from agentprm_dagster.engine.base import Sampled
from agentprm_dagster.engine.chat import Chat


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the answers that were drawn in a state."""

    text: str
    value: float
    """Of the judge, in [0, 1]."""
    taken: bool


class NotingJudge(Judge):
    """Another judge, of one slot, whose words are kept."""

    def __init__(self, judge: Judge, chat: Chat) -> None:
        super().__init__(judge.engine, chat, judge.dialogues.format)
        self._judge, self._chat = judge, chat
        self.dialogues = judge.dialogues
        self.turns: list[list[Candidate]] = []
        """The candidates of every turn that was played."""

    def scores(self, slots: Sequence[int], sampled: Sampled, futures: Sequence[Sequence[Future]]) -> torch.Tensor:
        """What the judge says."""
        self._said = self._judge.scores(slots, sampled, futures)
        return self._said

    def keep(self, slots: Sequence[int], sampled: Sampled, choice: Sequence[int]) -> None:
        """As the judge does."""
        self._judge.keep(slots, sampled, choice)
        drawn = enumerate(zip(sampled.tokens[0], self._said[0].sigmoid().tolist(), strict=True))
        self.turns.append([Candidate(self._chat.decode(ids), value, i == choice[0]) for i, (ids, value) in drawn])
