"""What vLLM's servers answer, as far as it is read; an answer of another shape is refused, with what is wrong in it."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentprm_dagster.engine.vllm.server import VllmError

_MOST_LETTERS = 200
"""How much of a wrong answer is repeated."""


class Answer(BaseModel):
    """What else an answer holds is not read."""

    model_config = ConfigDict(allow_inf_nan=False)


class Model(Answer):
    """One that is served."""

    id: str


class Models(Answer):
    """/v1/models"""

    data: list[Model]


class Version(Answer):
    """/version"""

    version: str


class _Cached(Answer):
    cached_tokens: int | None = None


class _Usage(Answer):
    prompt_tokens_details: _Cached | None = None


class OfModel(Answer):
    """An answer that says which model gave it."""

    model: str
    usage: _Usage = _Usage()

    @property
    def cached(self) -> int:
        """How many tokens of the prompt were read before."""
        details = self.usage.prompt_tokens_details
        return details.cached_tokens or 0 if details else 0


class _Logprobs(Answer):
    token_logprobs: list[float]


class Drawn(Answer):
    """One of several answers to a prompt."""

    index: int
    token_ids: list[int]
    """The end token included, where it ended by itself."""
    logprobs: _Logprobs


class Completions(OfModel):
    """/v1/completions"""

    choices: list[Drawn]


class _Logprob(Answer):
    logprob: float


class _ReadPrompt(Answer):
    prompt_logprobs: list[dict[int, _Logprob] | None]
    """By token, of each of the prompt; None of the first, which nothing stands before."""


class PromptLogprobs(OfModel):
    """/v1/completions with prompt_logprobs"""

    choices: Annotated[list[_ReadPrompt], Field(min_length=1, max_length=1)]


class _Pooled(Answer):
    data: Annotated[list[float], Field(min_length=1, max_length=1)]
    """The logit of the one label."""


class Pooled(OfModel):
    """/pooling with the task classify"""

    data: Annotated[list[_Pooled], Field(min_length=1, max_length=1)]


T = TypeVar("T", bound=Answer)


def read_answer(shape: type[T], body: bytes, where: str) -> T:
    """The answer that a server at `where` gave.

    Raises:
        VllmError: it is no JSON, or lacks something.
    """
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'the answer'}: {each['msg']}, got {each['input']!r:.{_MOST_LETTERS}}"
            for each in error.errors()[:4]
        )
        raise VllmError(f"{where} answered something else than vLLM does: {wrong}") from error
