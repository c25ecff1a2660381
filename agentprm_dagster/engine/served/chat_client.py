"""The `openai` client, with two things that it lacks: a limit on a whole request, and a check of what came.

Imported where it is used: `openai` takes a second.
"""

from asyncio import timeout
from collections.abc import Callable
from typing import Any

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from agentprm_dagster.engine.served.replies import InvalidAnswer, read_completion, tokens_in
from agentprm_dagster.engine.served.served_model import ServedModel
from agentprm_dagster.engine.served.settings import Llm
from agentprm_dagster.episodes.usage import Usage

PROBLEM = "agentprm_problem"
"""The extension of a response that says what is wrong with the answer in it."""


def chat_client(model: ServedModel, settings: Llm, wasted: Callable[[Usage], None]) -> AsyncOpenAI:
    """A client that sends again what failed for a reason that may pass, answers that are no completions included.

    `wasted` hears what each such answer took, and may raise to end the attempts.
    """
    http = _Http(settings.timeout, wasted)
    return AsyncOpenAI(base_url=model.url, api_key=model.key, max_retries=settings.retries, http_client=http)


class _Http(DefaultAsyncHttpxClient):
    def __init__(self, seconds: float, wasted: Callable[[Usage], None]) -> None:
        super().__init__(timeout=seconds)
        self._seconds, self._wasted = seconds, wasted

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """One attempt, all of it within the limit: httpx limits the wait for each byte alone."""
        try:
            async with timeout(self._seconds):
                response = await super().send(request, **options)
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no whole answer within {self._seconds:g} s", request=request) from None
        if response.is_success:
            self._check(response)
        return response

    def _check(self, response: httpx2.Response) -> None:
        """Makes of what is no completion the HTTP error that it is, which the client knows how to treat."""
        try:
            read_completion(response.content)
        except InvalidAnswer as error:
            self._wasted(tokens_in(response.content))
            response.status_code = error.status
            response.extensions[PROBLEM] = str(error)
