"""A language model behind an OpenAI-compatible server: which one, and one question to it.

The `openai` client keeps connections open, and sends again what failed for a reason that may pass, after growing waits
and no sooner than the server asks (`Retry-After`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import environ
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from agentprm_dagster.config import Llm
from agentprm_dagster.core.dialogue import Message

if TYPE_CHECKING:
    from openai import OpenAIError

MODEL, URL, KEY = "AGENTPRM_LLM_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY"

REMEDY = (
    f"set {URL} (https://api.openai.com/v1, http://127.0.0.1:8000/v1), {KEY} (any word where a server asks for none) "
    f"and {MODEL} (its name there)"
)

SHOWN = 300
"""How much of a server's own words an error repeats."""


class LlmError(RuntimeError):
    """A language model that cannot be asked, or whose server did not answer as agreed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered, and what that took as its server counts."""

    text: str
    """Empty where the model said nothing, as one that refuses or that is still thinking when it is cut."""
    tokens_read: int
    tokens_drawn: int


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model by its name at a server."""

    name: str
    url: str = field(repr=False)
    key: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> Self:
        """The one that the environment names; LlmError says which variables are missing."""
        name, url, key = (environ.get(variable, "") for variable in (MODEL, URL, KEY))
        missing = [variable for variable, value in ((MODEL, name), (URL, url), (KEY, key)) if not value]
        if missing:
            raise LlmError(f"no language model to ask, {' and '.join(missing)} not set: {REMEDY}")
        model = cls(name, url, key)
        if not model.host:
            raise LlmError(f"{URL} is not the URL of a server: {REMEDY}")
        return model

    @property
    def host(self) -> str:
        """The server's name and port; what else the URL holds may be secret."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


class ChatServer:
    """Answers from a served model; several threads may ask at once."""

    def __init__(self, model: ServedModel, settings: Llm) -> None:
        from openai import OpenAI  # a second to import

        self._model, self._settings = model, settings
        self._client = OpenAI(
            base_url=model.url, api_key=model.key, timeout=settings.timeout, max_retries=settings.retries
        )

    def ask(self, messages: Sequence[Message], temperature: float | None) -> Reply:
        """One answer.

        Raises:
            LlmError: there was none after all retries, or one that does not say its tokens.
        """
        from openai import OpenAIError

        asked: dict[str, Any] = {"temperature": temperature, "max_tokens": self._settings.max_new_tokens}
        try:
            answer = self._client.chat.completions.create(
                model=self._model.name,
                messages=list(messages),  # type: ignore[arg-type]
                extra_body=self._settings.request,
                **{name: value for name, value in asked.items() if value is not None},
            )
        except (OpenAIError, ValueError) as error:  # the latter where the body is no JSON
            raise LlmError(self._words(error)) from None  # the error itself may repeat the key
        return self._reply(answer)

    def _reply(self, answer: object) -> Reply:
        from openai.types.chat import ChatCompletion

        if not isinstance(answer, ChatCompletion) or not answer.choices or answer.usage is None:
            raise LlmError(
                f"expected a completion and its `usage` from {self._model.host}, got {str(answer)[:SHOWN]}: is {URL} "
                "right? Without `usage` nobody knows what is spent"
            )
        text = answer.choices[0].message.content or ""
        return Reply(text, answer.usage.prompt_tokens, answer.usage.completion_tokens)

    def _words(self, error: "OpenAIError | ValueError") -> str:
        import openai

        host, tried = self._model.host, f"{self._settings.retries} retries"
        if isinstance(error, openai.APITimeoutError):
            seconds = self._settings.timeout
            return f"{host} did not answer within {seconds:g} s ({tried}): raise llm.timeout or lower llm.concurrency"
        if isinstance(error, openai.APIConnectionError):
            return f"{host} could not be reached ({tried}): is the server there, and {URL} right?"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{host} refused the key for {self._model.name} (HTTP {error.status_code}): see to {KEY}"
        said = str(error).replace(self._model.key, "***")[:SHOWN]
        status = f"HTTP {error.status_code}" if isinstance(error, openai.APIStatusError) else type(error).__name__
        return f"{host} answered {status}, not a completion by {self._model.name}: {said}"
