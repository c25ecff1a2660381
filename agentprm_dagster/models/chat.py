"""From a dialogue to token ids, piece by piece, through any tokenizer's own chat template.

Pieces are encoded one by one (opening, answer, follow-up), and of an answer that a model drew the ids are those that
were drawn, whatever its text would read as: what the policy was fed, what the PRM scores and what training sees are the
same ids. This needs a template that only ever appends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from transformers import PreTrainedTokenizerBase

from agentprm_dagster.core.dialogue import Message, opening, restated_prompt
from agentprm_dagster.core.types import Response, Turn


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
        self._decode = lru_cache(maxsize=65536)(self._decode_answer)

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
            ids += self.answer(turn.response, turn.tokens) + self.follow_up(turn.observation)
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

    def answer(self, text: str, tokens: Sequence[int] = ()) -> list[int]:
        """Ids of an answer, its end token included: the `tokens` that were drawn, or those of its text."""
        return [*(tokens or self._answer(text)), self.end]

    def _encode_answer(self, response: str) -> tuple[int, ...]:
        return self._encode(response)

    def drawn(self, ids: Sequence[int], *, cut: bool) -> Response:
        """The answer that a model drew as these ids (without the end token)."""
        return Response(self.decode(ids), tuple(ids), cut)

    def decode(self, ids: Sequence[int]) -> str:
        """An answer's text from its ids (without the end token)."""
        return self._decode(tuple(ids))

    def _decode_answer(self, ids: tuple[int, ...]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def never_drawn(self, vocabulary: int) -> list[int]:
        """The ids below the size of a model's `vocabulary` that no answer holds, besides its end token.

        They are special tokens and ids that the tokenizer does not know, such as those that a vocabulary is padded
        with: both read as no text.
        """
        special = {*self.tokenizer.all_special_ids}
        special |= {token for token, added in self.tokenizer.added_tokens_decoder.items() if added.special}
        known = {*self.tokenizer.get_vocab().values()} - special | {self.end}
        return [token for token in range(vocabulary) if token not in known]

    def restated(self, first_observation: str, turns: Sequence[Turn]) -> EncodedEpisode:
        """The last of `turns` alone, asked for by the paper's prompt, which restates the turns before it."""
        *before, turn = turns
        prompt = self.prompt(restated_prompt(first_observation, before, turn.candidates))
        answer = self.answer(turn.response, turn.tokens)
        return EncodedEpisode([*prompt, *answer], [(len(prompt), len(prompt) + len(answer))])

    def episode(self, first_observation: str, turns: Sequence[Turn]) -> EncodedEpisode:
        """The whole conversation up to the last answer."""
        ids = self.state(first_observation, ())
        answers = []
        for i, turn in enumerate(turns):
            answer = self.answer(turn.response, turn.tokens)
            answers.append((len(ids), len(ids) + len(answer)))
            ids += answer
            if i < len(turns) - 1:
                ids += self.follow_up(turn.observation)
        return EncodedEpisode(ids, answers)
