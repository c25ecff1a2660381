"""A learned world: the likeliest reply to an imagined answer, by a model over cached conversations."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from agentprm_dagster.agents.policy import read_pending
from agentprm_dagster.agents.worlds import Path
from agentprm_dagster.engine.architectures import context_of
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.conversations import Conversations
from agentprm_dagster.engine.embedded.sampling import Sampler
from agentprm_dagster.engine.embedded.slots import SlotModel
from agentprm_dagster.engine.heads import language_head
from agentprm_dagster.episodes.records import Observation, Turn
from agentprm_dagster.episodes.usage import Usage


class LearnedWorld:
    """A world model: of replies the likeliest one, word for word."""

    def __init__(
        self,
        model: PreTrainedModel,
        chat: Chat,
        *,
        slots: int,
        lanes: int,
        max_reply_tokens: int,
    ) -> None:
        """At most `lanes` paths are imagined at a time."""
        use_grouped_attention(model)
        self.chat, self.usage = chat, Usage()
        self.slots, self.max_reply_tokens = slots, max_reply_tokens
        self.conversations = Conversations(self.chat, "append")
        self.cache = SlotModel(model.eval(), slots=slots + lanes, capacity=context_of(model.config))
        self.head = language_head(model)
        _, after = self.chat.frame
        banned = [*self.chat.never_drawn(model.config.vocab_size), self.chat.end]
        self.sampler = Sampler(self.cache, self.head, end=after[0], banned=banned)

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a conversation in a slot."""
        self.conversations.begin(slot, first_observation, turns, observation)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Adds the answer that was given and what it led to."""
        self.conversations.by_slot[slot].pending += self.chat.answer(turn.response, turn.tokens)
        self.conversations.observe(slot, turn, observation)

    @torch.inference_mode()
    def replies(self, paths: Sequence[Path]) -> list[str]:
        """The likeliest reply to the last answer of each path."""
        before, _ = self.chat.frame
        last = [path.turns[-1] for path in paths]
        hidden = self._read(paths, [[*self.chat.answer(t.response, t.tokens), *before] for t in last], turns=-1)
        lanes = self._lanes(paths)
        sampled = self.sampler.draw(
            lanes,
            hidden[:, None],
            self.cache.lengths[lanes][:, None],
            temperature=0,
            max_new_tokens=self.max_reply_tokens,
            generator=torch.Generator(),
        )
        self.usage.tokens_drawn += sampled.count()
        return [self.chat.decode(ids) for (ids,) in sampled.tokens]

    @torch.inference_mode()
    def over(self, paths: Sequence[Path]) -> list[bool]:
        """Whether it expects that no answer follows."""
        follows = self.head(self._read(paths, [[]] * len(paths), turns=None)).argmax(-1)
        return (follows == self.chat.end).tolist()

    def _lanes(self, paths: Sequence[Path]) -> list[int]:
        return list(range(self.slots, self.slots + len(paths)))

    def _read(self, paths: Sequence[Path], more: Sequence[list[int]], turns: int | None) -> torch.Tensor:
        """Hidden states (L, H) behind each path's first `turns` turns and what follows them, read in its lane.

        What a lane begins with is in the slot's conversation, or in another lane, and is not read again.
        """
        before = self.cache.tokens_read
        news = [slot for slot in dict.fromkeys(path.slot for path in paths) if self.conversations.by_slot[slot].pending]
        if news:
            read_pending(self.cache, self.conversations, news)
        lanes, dialogues = self._lanes(paths), []
        for lane, path, ids in zip(lanes, paths, more, strict=True):
            here = self.conversations.by_slot[path.slot]
            self.cache.clear(lane)
            dialogues.append(self.chat.state(here.first_observation, [*here.turns, *path.turns[:turns]]) + ids)
        hidden = self.cache.feed(lanes, dialogues)
        self.usage.tokens_read += self.cache.tokens_read - before
        return hidden
