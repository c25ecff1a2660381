"""One question to a language model behind an OpenAI-compatible server, and what is said where it gives no answer."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING, Any

from agentprm_dagster.engine.served.replies import Refused, Reply, read_completion
from agentprm_dagster.engine.served.served_model import KEY, URL, LlmError, ServedModel
from agentprm_dagster.engine.served.settings import Llm
from agentprm_dagster.episodes.dialogue import Message
from agentprm_dagster.episodes.usage import Usage

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAIError

REFUSED_FOR_GOOD = (400, 413, 422, 451)
"""The HTTP statuses by which a server refuses what it was sent, and not who sent it nor when."""
_THE_ACCOUNT = re.compile(r"api.?key|credit balance|billing|quota|payment", re.IGNORECASE)
"""Words by which some servers refuse an account under those statuses too."""


class ChatServer:
    """Answers from a served model; several threads may ask at once. To be closed."""

    def __init__(self, model: ServedModel, settings: Llm, wasted: Callable[[Usage], None] = lambda took: None) -> None:
        """`wasted` is called with what an invalid answer took; an error that it raises ends the attempts."""
        from agentprm_dagster.engine.served.chat_client import chat_client

        self._model, self._settings = model, settings
        self._client = chat_client(model, settings, wasted)
        # Requests await in one loop, as only what awaits can be interrupted when its time is over.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="llm", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Closes the connections; nothing more can be asked."""
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, messages: Sequence[Message], temperature: float | None) -> Reply:
        """One valid answer.

        Raises:
            Refused: the server will never answer these messages.
            LlmError: there was no valid answer after all retries.
        """
        return asyncio.run_coroutine_threadsafe(self._ask(messages, temperature), self._loop).result()

    async def _ask(self, messages: Sequence[Message], temperature: float | None) -> Reply:
        from openai import OpenAIError

        asked: dict[str, Any] = {"temperature": temperature, "max_tokens": self._settings.max_new_tokens}
        try:
            answer = await self._client.chat.completions.with_raw_response.create(
                model=self._model.name,
                messages=list(messages),  # type: ignore[arg-type]
                extra_body=self._settings.request,
                **{name: value for name, value in asked.items() if value is not None},
            )
        except OpenAIError as error:
            failure = self._failure(error)
        else:
            reply, clean = read_completion(answer.content), self._model.without_key
            return replace(reply, text=clean(reply.text), finish=clean(reply.finish))
        raise failure  # outside of `except`: what the client raised may repeat the key

    def _failure(self, error: "OpenAIError") -> LlmError:
        import httpx2
        import openai

        host, tried = self._model.host, f"{self._settings.retries} retries"
        if isinstance(error, openai.APIStatusError):
            return self._status_failure(error)
        if isinstance(error, openai.APITimeoutError):
            seconds = self._settings.timeout
            return LlmError(
                f"{host} did not answer within {seconds:g} s ({tried}): raise llm.timeout or lower llm.concurrency"
            )
        if isinstance(error.__cause__, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.DecodingError):
            return LlmError(f"{host} broke off its answer ({tried}): {type(error.__cause__).__name__}")
        if isinstance(error, openai.APIConnectionError):
            return LlmError(f"{host} could not be reached ({tried}): is the server there, and {URL} right?")
        return LlmError(f"{host} could not be asked: {self._model.shown(f'{type(error).__name__}: {error}')}")

    def _status_failure(self, error: "APIStatusError") -> LlmError:
        from agentprm_dagster.engine.served.chat_client import PROBLEM

        host, name, status = self._model.host, self._model.name, error.status_code
        words, problem = error.response.text, error.response.extensions.get(PROBLEM)
        if status in (401, 403):
            return LlmError(f"{host} refused the key for {name} (HTTP {status}): see to {KEY}")
        if status in REFUSED_FOR_GOOD and not _THE_ACCOUNT.search(words):
            return Refused(f"{host} answered HTTP {status}, not a completion by {name}: {self._model.shown(words)}")
        if problem:
            return LlmError(
                f"expected a completion and its `usage` from {host}, got {problem} ({self._settings.retries} retries): "
                f"{self._model.shown(words)}: is {URL} right? Without `usage` nobody knows what is spent"
            )
        return LlmError(f"{host} answered HTTP {status}, not a completion by {name}: {self._model.shown(words)}")
