"""ReAct (Yao et al. 2023): the model reasons, then acts, from a prompt that is written anew each turn.

It is the paper's unless another is named. Whatever `dialogue.format` says for the models that are trained, a model that
is only asked needs the commands listed.

What a reasoning model thinks before its answer, where its server leaves it in the text, is no part of the answer. Only
here: a policy that is trained learns from the very text that it wrote, and has never been shown such a block.
"""

import re
from collections.abc import Callable, Sequence

from agentprm_dagster.engine.served.replies import Refused, Reply
from agentprm_dagster.episodes.dialogue import Message, Prompt
from agentprm_dagster.episodes.records import Observation, Response, State, Turn
from agentprm_dagster.episodes.usage import Asked

Ask = Callable[[Sequence[Message], float | None], Reply]
"""From messages and a temperature to an answer; Refused where there will never be one."""

_THOUGHT = re.compile(
    r".*(?:</(?:seed:)?(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>)\s*",
    re.DOTALL | re.IGNORECASE,
)
"""From the start to where the last thinking ends. Its opening is often part of the prompt, and not of the text."""


def without_thinking(text: str) -> str:
    """An answer without the thinking before it; all of it where the thinking has no end."""
    thought = _THOUGHT.match(text)
    return text[thought.end() :] if thought else text


class ReAct:
    """Asks a language model what to do (`rollouts.rollout.Agent`); one conversation at a time."""

    slots = 1

    def __init__(
        self,
        ask: Ask,
        prompt: Prompt,
        temperature: float | None,
        *,
        without: Callable[[str], str] = without_thinking,
    ) -> None:
        """
        Args:
            prompt: `Wording.prompt` is the paper's.
            without: takes off an answer what is no part of it.
        """
        self.usage = Asked()
        self._ask, self._prompt, self._temperature, self._without = ask, prompt, temperature, without

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation."""
        self._state = state

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells what an answer led to."""
        self._state = self._state.after(turn, observation)

    def act(self, slots: Sequence[int]) -> list[Response | None]:
        """The model's answer, word for word but for its thinking; None where the prompt is refused for good."""
        try:
            return [self._answer(self._temperature) for _ in slots]
        except Refused as refused:
            self.usage.refusals += (str(refused),)
            return [None for _ in slots]

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        """Several answers, each asked for by itself: not every server draws more than one."""
        return [[self._answer(temperature) for _ in range(candidates)] for _ in slots]

    def _answer(self, temperature: float | None) -> Response:
        here = self._state
        prompt = self._prompt(here.first_observation, here.turns, here.observation.commands)
        reply = self._ask(prompt, temperature)
        answer = self._without(reply.text)
        self.usage.tokens_read += reply.tokens_read
        self.usage.tokens_drawn += reply.tokens_drawn
        self.usage.cut_answers += reply.cut
        self.usage.filtered_answers += reply.filtered
        self.usage.empty_answers += not answer.strip()
        return Response(answer, cut=reply.cut)
