"""Branches placed by what a PRM says of the actions that would be tried."""

from collections.abc import Callable, Sequence

from agentprm_dagster.agents.dialogues import Dialogues
from agentprm_dagster.engine.base import Engine
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Response, State
from agentprm_dagster.episodes.usage import Usage


class ValuePlacer:
    """Scores states by the PRM's values of several actions (`rollouts.placement.Placer`); a state is read once."""

    def __init__(
        self,
        engine: Engine,
        chat: Chat,
        score: Callable[[Sequence[float]], float],
        *,
        dialogue: Format,
        usage: Usage,
    ) -> None:
        """`engine` holds the PRM; `score` makes one number of the values of a state's actions, each in [0, 1]; what is
        read goes to `usage`.
        """
        self.engine, self.chat = engine, chat
        self.score, self.usage = score, usage
        self.dialogues = Dialogues(engine, chat, dialogue)

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation in a slot."""
        self.dialogues.begin(slot, state)

    def scores(self, answers: Sequence[Sequence[Response]], tried: Sequence[Sequence[Response]]) -> list[float]:
        """The score of each slot's tried actions; a state where there is nothing to compare is not read."""
        scores = [0.0] * len(tried)
        branched = [slot for slot, each in enumerate(tried) if len(each) > 1]
        if not branched:
            return scores
        widest = max(len(tried[slot]) for slot in branched)
        ids = [[self.chat.answer(answer.text, answer.tokens) for answer in tried[slot]] for slot in branched]
        before = self.engine.tokens_read
        # A slot with fewer actions than another reads its first one again.
        logits = self.engine.score(branched, [[*each, *each[:1] * (widest - len(each))] for each in ids])
        self.usage.tokens_read += self.engine.tokens_read - before
        for slot, values in zip(branched, logits.sigmoid().tolist(), strict=True):
            scores[slot] = self.score(values[: len(tried[slot])])
        return scores
