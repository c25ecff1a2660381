"""A learned world: the likeliest reply to a predicted answer, by a model over cached conversations."""

from collections.abc import Sequence

from agentprm_dagster.agents.dialogues import Dialogues
from agentprm_dagster.agents.worlds import Path
from agentprm_dagster.engine.base import Engine, Limits, Sampled
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.records import Observation, State, Turn
from agentprm_dagster.episodes.usage import Usage


class LearnedWorld:
    """A world model: of replies the likeliest one, word for word."""

    def __init__(self, engine: Engine, chat: Chat, *, slots: int, max_reply_tokens: int) -> None:
        """`engine` holds conversations for all `slots`, and behind those as many as paths are predicted at a time."""
        self.engine, self.chat, self.usage, self.slots = engine, chat, Usage(), slots
        self.dialogues = Dialogues(engine, chat, "append")
        _, after = chat.delimiters
        self.reply = Limits(after[0], max_reply_tokens, (*chat.never_drawn(engine.vocabulary), chat.end))
        self.end = Limits(chat.end, max_new_tokens=1)

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation in a slot."""
        self.dialogues.begin(slot, state)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Adds the answer that was given and what it led to."""
        self.engine.extend(slot, self.chat.answer(turn.response, turn.tokens))
        self.dialogues.observe(slot, turn, observation)

    def replies(self, paths: Sequence[Path]) -> list[str]:
        """The likeliest reply to the last answer of each path."""
        before, _ = self.chat.delimiters
        last = [path.turns[-1] for path in paths]
        asked = [[*self.chat.answer(turn.response, turn.tokens), *before] for turn in last]
        sampled = self._likeliest(paths, asked, self.reply, turns=-1)
        self.usage.tokens_drawn += sampled.count()
        return [self.chat.decode(ids) for (ids,) in sampled.tokens]

    def over(self, paths: Sequence[Path]) -> list[bool]:
        """Whether it expects that no answer follows."""
        return [ended for (ended,) in self._likeliest(paths, [[]] * len(paths), self.end, turns=None).finished]

    def _likeliest(
        self, paths: Sequence[Path], more: Sequence[list[int]], limits: Limits, *, turns: int | None
    ) -> Sampled:
        """What follows each path's first `turns` turns and `more`, read in a cache slot of its own."""
        before = self.engine.tokens_read
        self.engine.prefill(list(dict.fromkeys(path.slot for path in paths)))
        spare = range(self.slots, self.slots + len(paths))
        for slot, path, ids in zip(spare, paths, more, strict=True):
            here = self.dialogues.states[path.slot]
            self.engine.begin(slot, self.chat.state(here.first_observation, [*here.turns, *path.turns[:turns]]) + ids)
        sampled = self.engine.sample(spare, 1, limits, temperature=0, seeds=[0] * len(paths))
        self.usage.tokens_read += self.engine.tokens_read - before
        return sampled
