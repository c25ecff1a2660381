"""ReAct (Yao et al. 2023) with the paper's prompt: the model reasons, then acts, from the history written anew.

Whatever `dialogue.format` says for the models that are trained, a model that is only asked needs the commands listed.
"""

from collections.abc import Callable, Sequence

from agentprm_dagster.core.dialogue import Message, restated_prompt
from agentprm_dagster.core.types import Observation, Response, Turn
from agentprm_dagster.core.usage import Usage
from agentprm_dagster.inference.chat_server import Reply

Ask = Callable[[Sequence[Message], float | None], Reply]
"""From messages and a temperature to an answer."""


class ReAct:
    """Asks a language model what to do (`core.rollout.Agent`); one conversation at a time."""

    slots = 1

    def __init__(self, ask: Ask, temperature: float | None) -> None:
        self.usage = Usage()
        self._ask, self._temperature = ask, temperature

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a conversation."""
        self._first, self._turns, self._now = first_observation, list(turns), observation

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells what an answer led to."""
        self._turns.append(turn)
        self._now = observation

    def act(self, slots: Sequence[int]) -> list[Response]:
        """The model's answer, word for word."""
        return [self._answer(self._temperature) for _ in slots]

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        """Several answers, each asked for by itself: not every server draws more than one."""
        return [[self._answer(temperature) for _ in range(candidates)] for _ in slots]

    def _answer(self, temperature: float | None) -> Response:
        prompt = restated_prompt(self._first, self._turns, self._now.admissible_commands)
        reply = self._ask(prompt, temperature)
        self.usage.tokens_read += reply.tokens_read
        self.usage.tokens_drawn += reply.tokens_drawn
        return Response(reply.text)
