"""A language model as an agent: one answer a turn, from cached conversations."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from agentprm_dagster.engine.architectures import context_of
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.conversations import Conversations
from agentprm_dagster.engine.embedded.sampling import Sampled, Sampler
from agentprm_dagster.engine.embedded.slots import SlotModel
from agentprm_dagster.engine.heads import language_head
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Observation, Response, Turn
from agentprm_dagster.episodes.usage import Usage


class Policy:
    """pi(answer | dialogue) in several slots at once (`rollouts.rollout.Agent`)."""

    def __init__(
        self,
        model: PreTrainedModel,
        chat: Chat,
        *,
        dialogue: Format,
        slots: int,
        temperature: float,
        max_new_tokens: int,
        seed: int,
        lanes: int = 0,
    ) -> None:
        """`lanes` are slots beside those of the conversations, for what is only imagined."""
        use_grouped_attention(model)
        self.model = model.eval()
        self.slots, self.usage = slots, Usage()
        self.temperature, self.max_new_tokens = temperature, max_new_tokens
        self.chat = chat
        self.conversations = Conversations(self.chat, dialogue)
        self.cache = SlotModel(model, slots=slots + lanes, capacity=context_of(model.config))
        banned = self.chat.never_drawn(model.config.vocab_size)
        self.sampler = Sampler(self.cache, language_head(model), end=self.chat.end, banned=banned)
        self.generator = torch.Generator().manual_seed(seed)

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a conversation in a slot."""
        self.conversations.begin(slot, first_observation, turns, observation)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what its answer led to."""
        self.conversations.observe(slot, turn, observation)

    @torch.inference_mode()
    def act(self, slots: Sequence[int]) -> list[Response]:
        """Samples one answer for each slot and keeps it."""
        sampled = self._draw(slots, 1, self.temperature)
        self._keep(slots, sampled, [0] * len(slots))
        return [answer for (answer,) in self._answers(sampled)]

    @torch.inference_mode()
    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        """Samples several answers for each slot; none is kept, and the slots must begin anew afterwards."""
        return self._answers(self._draw(slots, candidates, temperature))

    def _answers(self, sampled: Sampled) -> list[list[Response]]:
        """The candidates [B][n]."""
        return [
            [self.chat.drawn(ids, cut=not ended) for ids, ended in zip(*each, strict=True)]
            for each in zip(sampled.tokens, sampled.finished, strict=True)
        ]

    def _draw(self, slots: Sequence[int], candidates: int, temperature: float) -> Sampled:
        before = self.cache.tokens_read
        hidden = read_pending(self.cache, self.conversations, slots)
        sampled = self.sampler.draw(
            slots,
            hidden[:, None].expand(-1, candidates, -1),
            self.cache.lengths[list(slots)][:, None].expand(-1, candidates),
            temperature=temperature,
            max_new_tokens=self.max_new_tokens,
            generator=self.generator,
        )
        self.usage.tokens_read += self.cache.tokens_read - before
        self.usage.tokens_drawn += sampled.count()
        return sampled

    def _keep(self, slots: Sequence[int], sampled: Sampled, choice: Sequence[int]) -> None:
        """Makes the chosen candidates part of the conversations."""
        rows = torch.tensor(slots)
        answers = [tokens[c] for tokens, c in zip(sampled.tokens, choice, strict=True)]
        # The last token of an answer that was cut has not been read yet; the end token never has.
        cut = [not finished[c] for finished, c in zip(sampled.finished, choice, strict=True)]
        counts = torch.tensor([len(ids) - is_cut for ids, is_cut in zip(answers, cut, strict=True)])
        scratch = sampled.scratch[torch.arange(len(rows)), torch.tensor(choice)][:, : max(int(counts.max()), 1)]
        self.cache.keep(rows, scratch, counts)
        for slot, ids, is_cut in zip(slots, answers, cut, strict=True):
            self.conversations.by_slot[slot].pending = [*(ids[-1:] if is_cut else []), self.chat.end]


def read_pending(cache: SlotModel, conversations: Conversations, slots: Sequence[int]) -> torch.Tensor:
    """Feeds every slot what it has not read; hidden states behind the last tokens (B, H)."""
    pending = []
    for slot in slots:
        ids, fresh = conversations.take_pending(slot)
        if fresh:
            cache.clear(slot)
        pending.append(ids)
    return cache.feed(slots, pending)
