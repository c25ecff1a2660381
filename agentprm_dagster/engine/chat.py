"""From a dialogue to token ids, piece by piece, through any tokenizer's own chat template.

Pieces are encoded one by one (opening, answer, follow-up), and of an answer that a model drew the ids are those that
were drawn, whatever its text would read as: what the policy was fed, what the PRM scores and what training sees are the
same ids. This needs a template that only ever appends. An answer ends with the token that the template puts behind it,
which need not be the tokenizer's end-of-text token.
"""

import copy
from collections.abc import Sequence
from functools import cached_property, lru_cache

from transformers import PreTrainedTokenizerBase

from agentprm_dagster.engine.templates import ChatTemplateError, render
from agentprm_dagster.episodes.dialogue import Format, Message, Wording
from agentprm_dagster.episodes.records import Episode, Response, Turn
from agentprm_dagster.episodes.tokens import EpisodeTokens

TRIAL_START = (
    "You are in the middle of a room. You see a cabinet 1, and a desk 1.\n\nYour task is to: put a mug in desk."
)
TRIAL_TURNS = tuple(
    Turn("I search.", command, seen, f"REASON: I search.\nACTION: {command}", candidates=("look", command))
    for command, seen in (
        ("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed."),
        ("open cabinet 1", "You open the cabinet 1. The cabinet 1 is open. In it, you see a mug 1."),
        ("take mug 1 from cabinet 1", "You pick up the mug 1 from the cabinet 1."),
    )
)
"""A dialogue that templates, tokenizers and models are tried on."""


class Chat:
    """Encodes the dialogues of one kind of environment for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, wording: Wording) -> None:
        """
        Raises:
            ChatTemplateError: there is no template, or none that closes an answer with a token of its own.
        """
        if tokenizer.chat_template is None:
            raise ChatTemplateError(f"{tokenizer.name_or_path} has no chat template: use an instruction-tuned model")
        self.tokenizer, self.wording = tokenizer, wording
        self.end, self._lead = self._around_answers()
        self._opening = lru_cache(maxsize=4096)(self._encode_opening)
        self._follow_up = lru_cache(maxsize=65536)(self._encode_follow_up)
        self._answer = lru_cache(maxsize=65536)(self._encode_answer)
        self._decode = lru_cache(maxsize=65536)(self._decode_answer)

    def __reduce__(self) -> tuple[type["Chat"], tuple[PreTrainedTokenizerBase, Wording]]:
        """Sent to another process as its tokenizer and wording; what it remembers stays."""
        return Chat, (self.tokenizer, self.wording)

    def _around_answers(self) -> tuple[int, str]:
        """The token that ends an answer, and the template's text between an observation and the next answer."""
        first, answer, observation = "<first>", "<answer>", "<observation>"
        messages: list[Message] = [{"role": "user", "content": first}, {"role": "assistant", "content": answer}]
        text = self.text([*messages, {"role": "user", "content": observation}])
        _, _, behind = text.partition(answer)
        tokens = self._encode(behind.lstrip(" "))
        if not tokens or tokens[0] not in self.tokenizer.added_tokens_decoder:
            raise ChatTemplateError(
                f"{self.tokenizer.name_or_path}: expected a chat template that closes an answer with a token of its "
                f"own, got {text!r}: use another model"
            )
        return tokens[0], text.rpartition(observation)[2]

    def closing_tokenizer(self) -> PreTrainedTokenizerBase:
        """A copy for libraries that ask the tokenizer what ends an answer and what to pad with."""
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.eos_token = self.tokenizer.convert_ids_to_tokens(self.end)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        return tokenizer

    def require(self, dialogue: Format) -> None:
        """Tries the template and the tokenizer on a dialogue in a format, before anything is made with them.

        Raises:
            ChatTemplateError: the pieces are not what the template makes of the whole.
        """
        for count in range(len(TRIAL_TURNS) + 1):
            turns = TRIAL_TURNS[:count]
            text = self.text(self.wording.state(TRIAL_START, turns, dialogue, ["look"]))
            self._require_whole(self.state(TRIAL_START, turns, dialogue, ["look"]), text)
        answer = self._encode_answer(TRIAL_TURNS[0].response)
        if self.decode(answer) != TRIAL_TURNS[0].response:
            raise ChatTemplateError(
                f"{self.tokenizer.name_or_path}: expected a tokenizer that gives an answer back as it was written, "
                f"{TRIAL_TURNS[0].response!r}, got {self.decode(answer)!r}: use another model"
            )

    def _require_whole(self, ids: Sequence[int], text: str) -> None:
        """The ids are those of the text, or at least its letters: a token may span what is fed and what is answered."""
        if tuple(ids) != self._encode(text) and self.decode(ids) != text:
            raise ChatTemplateError(
                f"{self.tokenizer.name_or_path}: expected pieces of a dialogue that together are what the chat "
                f"template makes of the whole, {text!r}, got {self.decode(ids)!r}: use another model"
            )

    @cached_property
    def _answered(self) -> str:
        """The template's text of a first observation and an answer, its end token included.

        Raises:
            ChatTemplateError: what the template writes behind an answer depends on more than what stands there.
        """
        messages = self.wording.opening(TRIAL_START)
        answers: list[Message] = [{"role": "assistant", "content": turn.response} for turn in TRIAL_TURNS]
        observations: list[Message] = [{"role": "user", "content": turn.observation} for turn in TRIAL_TURNS]
        end = self.tokenizer.convert_ids_to_tokens(self.end)
        answered = self.text(messages) + TRIAL_TURNS[0].response + end
        once, other = (self.text([*messages, answers[0], each]) for each in observations[:2])
        twice = self.text([*messages, answers[0], observations[0], answers[1], observations[1]])
        expected = once + TRIAL_TURNS[1].response + end + other[len(answered) :]
        if not (once.startswith(answered) and other.startswith(answered) and twice == expected):
            raise ChatTemplateError(
                f"{self.tokenizer.name_or_path}: dialogue.format: append needs a chat template that only appends and "
                f"closes an answer with {end!r}, got {twice!r}; use dialogue.format: restated, or another model"
            )
        return answered

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _encode_behind(self, before: str, text: str) -> tuple[int, ...]:
        """Ids of a text that goes on from another: some tokenizers treat a beginning otherwise."""
        start, whole = self._encode(before), self._encode(before + text)
        return whole[len(start) :] if whole[: len(start)] == start else self._encode(text)

    def prompt(self, messages: list[Message]) -> list[int]:
        """Ids from the start to where the agent's answer begins."""
        return self.encode(self.text(messages))

    def text(self, messages: Sequence[Message]) -> str:
        """What the template writes up to where the agent's answer begins."""
        return render(self.tokenizer, messages)

    def encode(self, text: str) -> list[int]:
        """Ids of such a text."""
        return list(self._encode(text))

    def state(
        self, first_observation: str, turns: Sequence[Turn], dialogue: Format = "append", commands: Sequence[str] = ()
    ) -> list[int]:
        """Ids of `Wording.state`: up to where the answer after `turns` begins."""
        if dialogue == "restated":
            return self.prompt(self.wording.state(first_observation, turns, dialogue, commands))
        ids = list(self._opening(first_observation))
        for turn in turns:
            ids += self.answer(turn.response, turn.tokens) + self.follow_up(turn.observation)
        return ids

    def follow_up(self, observation: str) -> list[int]:
        """Ids from behind an answer's end token to where the next answer begins."""
        return list(self._follow_up(observation))

    @cached_property
    def delimiters(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of a follow-up before and behind its observation.

        Raises:
            ChatTemplateError: a token reaches from one into the other.
        """
        observation = TRIAL_TURNS[0].observation
        before, _, after = self._follow_up_text(observation).partition(observation)
        end = self.tokenizer.convert_ids_to_tokens(self.end)
        start, stop = self._encode_behind(end, before), self._encode(after)
        ids = self._follow_up(observation)
        if ids[: len(start)] != start or ids[len(ids) - len(stop) :] != stop:
            raise ChatTemplateError(
                f"{self.tokenizer.name_or_path}: expected observations of tokens of their own, got tokens that reach "
                f"into {before!r} or {after!r} around them: use another model"
            )
        return start, stop

    def _encode_opening(self, first_observation: str) -> tuple[int, ...]:
        return self._encode(self.text(self.wording.opening(first_observation)))

    def _follow_up_text(self, observation: str) -> str:
        """As the template writes it: some strip an observation's blanks."""
        answer: Message = {"role": "assistant", "content": TRIAL_TURNS[0].response}
        whole = self.text([*self.wording.opening(TRIAL_START), answer, {"role": "user", "content": observation}])
        return whole[len(self._answered) :]

    def _encode_follow_up(self, observation: str) -> tuple[int, ...]:
        end = self.tokenizer.convert_ids_to_tokens(self.end)
        return self._encode_behind(end, self._follow_up_text(observation))

    def answer(self, text: str, tokens: Sequence[int] = ()) -> list[int]:
        """Ids of an answer, its end token included: the `tokens` that were drawn, or those of its text."""
        return [*(tokens or self._answer(text)), self.end]

    def _encode_answer(self, response: str) -> tuple[int, ...]:
        return self._encode_behind(self._lead, response)

    def drawn(self, ids: Sequence[int], *, cut: bool) -> Response:
        """The answer that a model drew as these ids (without the end token)."""
        return Response(self.decode(ids), tuple(ids), cut)

    def decode(self, ids: Sequence[int]) -> str:
        """An answer's text from its ids (without the end token)."""
        return self._decode(tuple(ids))

    def _decode_answer(self, ids: tuple[int, ...]) -> str:
        text = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)

    def never_drawn(self, vocabulary: int) -> list[int]:
        """The ids below the size of a model's `vocabulary` that no answer holds, besides its end token.

        They are special tokens and ids that the tokenizer does not know, such as those that a vocabulary is padded
        with: both read as no text.
        """
        special = {*self.tokenizer.all_special_ids}
        special |= {token for token, added in self.tokenizer.added_tokens_decoder.items() if added.special}
        known = {*self.tokenizer.get_vocab().values()} - special | {self.end}
        return [token for token in range(vocabulary) if token not in known]

    def conversations(
        self, episode: Episode, dialogue: Format = "append", turns: Sequence[int] | None = None
    ) -> list[EpisodeTokens]:
        """An episode up to the last of some `turns` of it, all where it is None: what every model here reads of it.

        One conversation in the `append` format, one a turn where every turn restates the history; none without turns.
        """
        asked = range(len(episode.turns)) if turns is None else turns
        if dialogue == "restated":
            return [self._restated(episode, t) for t in asked]
        return [self._appended(episode, asked)] if asked else []

    def _restated(self, episode: Episode, t: int) -> EpisodeTokens:
        """A turn alone, asked for by the paper's prompt, which restates the turns before it."""
        turn = episode.turns[t]
        ids = self.state(episode.first_observation, episode.turns[:t], "restated", turn.candidates)
        start = len(ids)
        ids += self.answer(turn.response, turn.tokens)
        return EpisodeTokens(ids, [(start, len(ids))], episode, [t])

    def _appended(self, episode: Episode, turns: Sequence[int]) -> EpisodeTokens:
        """The whole conversation up to the answer of the last of `turns`."""
        ids, answers = self.state(episode.first_observation, ()), []
        for t, turn in enumerate(episode.turns[: turns[-1] + 1]):
            ids += self.follow_up(episode.turns[t - 1].observation) if t else []
            start = len(ids)
            ids += self.answer(turn.response, turn.tokens)
            answers.append((start, len(ids)))
        return EpisodeTokens(ids, [answers[t] for t in turns], episode, list(turns))
