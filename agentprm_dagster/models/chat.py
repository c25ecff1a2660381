"""From a dialogue to token ids, piece by piece, through any tokenizer's own chat template.

Pieces are encoded where they arise (opening, answer, follow-up) and never again, so that what the policy was fed, what
the PRM scores and what training sees are the same ids. This needs a template that only ever appends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from transformers import PreTrainedTokenizerBase

from agentprm_dagster.core.dialogue import Message, opening, restated_prompt
from agentprm_dagster.core.types import Turn


class ChatTemplateError(ValueError):
    """A chat template that does not only append, or a tokenizer without one."""


@dataclass(frozen=True, slots=True)
class EncodedEpisode:
    """The token ids of one conversation and where the answers are."""

    ids: list[int]
    answers: list[tuple[int, int]]
    """[start, end) of every answer's tokens, its end-of-turn token included."""


class Chat:
    """Encodes dialogues for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.chat_template is None:
            raise ChatTemplateError(f"{tokenizer.name_or_path} has no chat template: use an instruction-tuned model")
        self.tokenizer = tokenizer
        self.end: int = tokenizer.eos_token_id
        self._opening = lru_cache(maxsize=4096)(self._encode_opening)
        self._follow_up = lru_cache(maxsize=65536)(self._encode_follow_up)
        self._answer = lru_cache(maxsize=65536)(self._encode_answer)

    def __reduce__(self) -> tuple[type["Chat"], tuple[PreTrainedTokenizerBase]]:
        """Sent to another process as its tokenizer; what it remembers stays."""
        return Chat, (self.tokenizer,)

    @cached_property
    def _frame(self) -> tuple[str, str]:
        """The template's text between an answer's end token and the next observation, and from there to the answer."""
        start: list[Message] = [{"role": "user", "content": "<first>"}]
        whole = self._render(
            [*start, {"role": "assistant", "content": "<answer>"}, {"role": "user", "content": "<observation>"}]
        )
        prompt = self._render(start)
        answered = prompt + "<answer>" + self.tokenizer.eos_token
        if not whole.startswith(answered):
            raise ChatTemplateError(
                f"{self.tokenizer.name_or_path}: expected a chat template that only appends and closes an answer with "
                f"{self.tokenizer.eos_token!r}, got {whole[len(prompt) :]!r}; use another model or dialogue format"
            )
        before, _, after = whole[len(answered) :].partition("<observation>")
        return before, after

    def _render(self, messages: list[Message]) -> str:
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def prompt(self, messages: list[Message]) -> list[int]:
        """Ids from the start to where the agent's answer begins."""
        return list(self._encode(self._render(messages)))

    def state(self, first_observation: str, turns: Sequence[Turn]) -> list[int]:
        """Ids of a conversation up to where the answer after `turns` begins."""
        ids = list(self._opening(first_observation))
        for turn in turns:
            ids += self.answer(turn.response) + self.follow_up(turn.observation)
        return ids

    def follow_up(self, observation: str) -> list[int]:
        """Ids from behind an answer's end token to where the next answer begins."""
        return list(self._follow_up(observation))

    @cached_property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of a follow-up before and behind its observation."""
        before, after = self._frame
        return self._encode(before), self._encode(after)

    def _encode_opening(self, first_observation: str) -> tuple[int, ...]:
        return self._encode(self._render(opening(first_observation)))

    def _encode_follow_up(self, observation: str) -> tuple[int, ...]:
        before, after = self._frame
        return self._encode(before + observation + after)

    def answer(self, response: str) -> list[int]:
        """Ids of an answer, its end token included."""
        return [*self._answer(response), self.end]

    def _encode_answer(self, response: str) -> tuple[int, ...]:
        return self._encode(response)

    def decode(self, ids: Sequence[int]) -> str:
        """An answer's text from its ids (without the end token)."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def restated(self, first_observation: str, turns: Sequence[Turn]) -> EncodedEpisode:
        """The last of `turns` alone, asked for by the paper's prompt, which restates the turns before it."""
        *before, turn = turns
        prompt = self.prompt(restated_prompt(first_observation, before, turn.candidates))
        answer = self.answer(turn.response)
        return EncodedEpisode([*prompt, *answer], [(len(prompt), len(prompt) + len(answer))])

    def episode(self, first_observation: str, turns: Sequence[Turn]) -> EncodedEpisode:
        """The whole conversation up to the last answer."""
        ids = self.state(first_observation, ())
        answers = []
        for i, turn in enumerate(turns):
            answer = self.answer(turn.response)
            answers.append((len(ids), len(ids) + len(answer)))
            ids += answer
            if i < len(turns) - 1:
                ids += self.follow_up(turn.observation)
        return EncodedEpisode(ids, answers)
