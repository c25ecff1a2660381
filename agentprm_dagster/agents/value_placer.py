"""Branches placed by what a PRM says of the actions that would be tried."""

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from agentprm_dagster.agents.best_of_n import PrmJudge
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.conversations import Conversations
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Observation, Response, Turn
from agentprm_dagster.episodes.usage import Usage


class ValuePlacer:
    """Scores states by the PRM's values of several actions (`rollouts.placement.Placer`); a state is read once."""

    def __init__(
        self,
        prm: PreTrainedModel,
        chat: Chat,
        score: Callable[[Sequence[float]], float],
        *,
        screening: int,
        dialogue: Format,
        slots: int,
        usage: Usage,
    ) -> None:
        """`score` makes one number of the values of a state's actions, each in [0, 1]; what is read goes to `usage`."""
        use_grouped_attention(prm)
        self.score, self.screening, self.usage = score, screening, usage
        self.chat = chat
        self.judge = PrmJudge(prm.eval(), Conversations(self.chat, dialogue), slots=slots, prior=0.0)

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a conversation in a slot."""
        self.judge.conversations.begin(slot, first_observation, turns, observation)

    @torch.inference_mode()
    def scores(self, answers: Sequence[Sequence[Response]], tried: Sequence[Sequence[Response]]) -> list[float]:
        """The score of each slot's tried actions; a state where there is nothing to compare is not read."""
        scores = [0.0] * len(tried)
        contested = [slot for slot, each in enumerate(tried) if len(each) > 1]
        if not contested:
            return scores
        widest = max(len(tried[slot]) for slot in contested)
        ids = [[self.chat.answer(answer.text, answer.tokens) for answer in tried[slot]] for slot in contested]
        before = self.judge.cache.tokens_read
        # A slot with fewer actions than another reads its first one again.
        logits = self.judge.logits(contested, [[*each, *each[:1] * (widest - len(each))] for each in ids])
        self.usage.tokens_read += self.judge.cache.tokens_read - before + sum(len(each) for own in ids for each in own)
        for slot, said in zip(contested, logits.sigmoid().tolist(), strict=True):
            scores[slot] = self.score(said[: len(tried[slot])])
        return scores
