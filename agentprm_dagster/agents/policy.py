"""A language model as an agent: one answer a turn, whatever engine computes it."""

from collections.abc import Sequence

from agentprm_dagster.agents.dialogues import Dialogues
from agentprm_dagster.engine.base import Engine, Limits, Sampled, answer_seed
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Observation, Response, State, Turn
from agentprm_dagster.episodes.usage import Usage


class Policy:
    """pi(answer | dialogue) in several slots at once (`rollouts.rollout.Agent`)."""

    def __init__(
        self,
        engine: Engine,
        chat: Chat,
        *,
        dialogue: Format,
        slots: int,
        temperature: float,
        max_new_tokens: int,
        seed: int,
    ) -> None:
        """`engine` holds conversations for all `slots`, and more of them for what is only predicted."""
        self.engine, self.chat = engine, chat
        self.slots, self.usage = slots, Usage()
        self.temperature = temperature
        self.dialogues = Dialogues(engine, chat, dialogue)
        self.limits = Limits(chat.end, max_new_tokens, tuple(chat.never_drawn(engine.vocabulary)))
        self.seed = seed

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation in a slot."""
        self.dialogues.begin(slot, state)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what its answer led to."""
        self.dialogues.observe(slot, turn, observation)

    def act(self, slots: Sequence[int]) -> list[Response]:
        """Samples one answer for each slot and keeps it."""
        sampled = self._draw(slots, 1, self.temperature)
        self._keep(slots, sampled, [0] * len(slots))
        return [answer for (answer,) in self._answers(sampled)]

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        """Samples several answers for each slot; none is kept."""
        return self._answers(self._draw(slots, candidates, temperature))

    def _answers(self, sampled: Sampled) -> list[list[Response]]:
        """The candidates [B][n]."""
        return [
            [self.chat.drawn(ids, cut=not ended) for ids, ended in zip(*each, strict=True)]
            for each in zip(sampled.tokens, sampled.finished, strict=True)
        ]

    def _draw(self, slots: Sequence[int], candidates: int, temperature: float) -> Sampled:
        before = self.engine.tokens_read
        seeds = [self._seed(self.dialogues.states[slot], candidates) for slot in slots]
        sampled = self.engine.sample(slots, candidates, self.limits, temperature=temperature, seeds=seeds)
        self.usage.tokens_read += self.engine.tokens_read - before
        self.usage.tokens_drawn += sampled.count()
        return sampled

    def _seed(self, state: State, candidates: int) -> int:
        return answer_seed(self.seed, state.episode_id, len(state.turns), candidates)

    def _keep(self, slots: Sequence[int], sampled: Sampled, choice: Sequence[int]) -> None:
        """Makes the chosen candidates part of the conversations."""
        self.engine.keep(slots, choice, [len(ids[c]) for ids, c in zip(sampled.tokens, choice, strict=True)])
        for slot in slots:
            self.engine.extend(slot, [self.chat.end])
