"""What counts as an answer: the one place where it is checked, as a server sends it and as a journal gives it back.

What fails here becomes no number and is written nowhere: a count that is missing, null, negative or text, an answer
that cannot be written as UTF-8, a body without a message.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from agentprm_dagster.engine.served.served_model import LlmError
from agentprm_dagster.episodes.usage import Usage

MOST_TOKENS = 2**31
BAD_GATEWAY = 502


class InvalidAnswer(LlmError):
    """A server's answer that is no completion, or one in which something is wrong."""

    def __init__(self, problem: str, *, status: int = BAD_GATEWAY) -> None:
        super().__init__(problem)
        self.status = status
        """The HTTP status that says the same: the server's own, if its body names one."""


class Refused(LlmError):
    """A prompt that its server will never answer, because of its length or what it says."""


def _writable(text: str) -> str:
    text.encode()  # a UnicodeEncodeError, which is a ValueError, where half of a surrogate pair stands alone
    return text


def _whole(count: object) -> object:
    return int(count) if isinstance(count, float) and count.is_integer() else count


Text = Annotated[str, Strict(), AfterValidator(_writable)]
Count = Annotated[int, Strict(), Field(ge=0, le=MOST_TOKENS), BeforeValidator(_whole)]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered, and what that took as its server counts; ValueError where that cannot be."""

    text: Text
    """Empty where the model said nothing, as one that is still thinking when it is cut."""
    tokens_read: Count
    tokens_drawn: Count
    finish: Text = ""
    """Why the answer ended, as its server says; empty where it does not."""

    @property
    def cut(self) -> bool:
        """Whether it ended at the longest that may be drawn."""
        return self.finish.lower() in ("length", "max_tokens")

    @property
    def filtered(self) -> bool:
        """Whether a content filter ended it."""
        return self.finish.lower() == "content_filter"


@dataclass(frozen=True, slots=True)
class Refusal:
    """That a prompt was refused for good."""

    refused: Text
    """What the server said."""


def read_completion(body: bytes) -> Reply:
    """The answer in the body of a chat completion: the text of its first choice.

    Of a message in parts those of type `text` are joined. Other parts and fields (`reasoning_content`) are left out.

    Raises:
        InvalidAnswer: names the field that is wrong.
    """
    sent = _json(body)
    if error := _error(sent):
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else BAD_GATEWAY
        raise InvalidAnswer("an error in place of a completion", status=status)
    try:
        completion = _Completion.model_validate(sent)
        choice, usage = completion.choices[0], completion.usage
        return Reply(choice.message.content, usage.prompt_tokens, usage.completion_tokens, choice.finish_reason or "")
    except ValidationError as error:
        raise InvalidAnswer(_problem(error)) from None


def tokens_in(body: bytes) -> Usage:
    """What a body that is no answer says it took; nothing where it does not say."""
    try:
        usage = _Billed.model_validate(_json(body)).usage
    except (InvalidAnswer, ValidationError):
        return Usage()
    return Usage(usage.prompt_tokens, usage.completion_tokens)


def tokens_kept(line: bytes) -> Usage:
    """What a journal's line that is no record says it took; nothing where it does not say."""
    try:
        took = _Took.model_validate(_json(line))
    except (InvalidAnswer, ValidationError):
        return Usage()
    return Usage(took.tokens_read, took.tokens_drawn)


def read_record(record: Mapping[str, Any]) -> tuple[str, Reply | Refusal]:
    """A question's digest and its answer, from a line of a journal; ValueError names the field that is wrong."""
    try:
        question = _QUESTION.validate_python(record.get("question"))
        return question, (_REFUSAL if "refused" in record else _REPLY).validate_python(record)
    except ValidationError as error:
        raise ValueError(_problem(error)) from None


_QUESTION, _REPLY, _REFUSAL = TypeAdapter(Text), TypeAdapter(Reply), TypeAdapter(Refusal)


def _joined(content: object) -> object:
    """The text of a message's content, whatever it is made of; what is neither text nor parts as it is."""
    if not isinstance(content, list):
        return "" if content is None else content
    if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content):
        raise ValueError("expected text, or a list of parts each with its type")
    texts = [part.get("text") for part in content if part["type"] == "text"]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("expected the text of every part of type text")
    return "".join(texts)


class _Message(BaseModel):
    content: Annotated[Text, BeforeValidator(_joined)] = ""


class _Choice(BaseModel):
    message: _Message
    finish_reason: Text | None = None


class _Usage(BaseModel):
    prompt_tokens: Count
    completion_tokens: Count


class _Took(BaseModel):
    tokens_read: Count
    tokens_drawn: Count


class _Billed(BaseModel):
    usage: _Usage


class _Completion(_Billed):
    choices: Annotated[list[_Choice], Field(min_length=1)]


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidAnswer("no JSON") from None


def _error(sent: object) -> object:
    """The error that a body holds in a completion's place, or in that of its first choice."""
    if not isinstance(sent, dict):
        return None
    choices = sent.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return sent.get("error") or (first.get("error") if isinstance(first, dict) else None)


def _problem(error: ValidationError) -> str:
    """The first field that is wrong, and how; no more of its value than its type, as it may be anything."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"])) or "the body"
    return f"{field}: {first['msg']}, got {type(first['input']).__name__}"
