"""Requests to one or several vLLM servers of the same model: many at once, each to the least busy, tried again.

A server that dies is left out, and what it was asked goes to the others; where none is left, the error says what the
last one printed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import httpx2

from agentprm_dagster.engine.vllm.server import VllmError

_AT_ONCE = 256
"""Requests under way at each server; it queues what it cannot compute together."""
_FIRST_PAUSE = 0.5
"""Seconds before the first new attempt; twice as long before each further one."""
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
"""Statuses of what may go well the next time."""


class Client:
    """Asks servers; several threads may ask at once. To be closed."""

    def __init__(self, urls: Sequence[str], *, timeout: float, retries: int, words: Callable[[str], str]) -> None:
        """`words` says of a server's URL how it is and what it printed, for errors."""
        self._retries, self._words = retries, words
        self._busy = Counter({url.rstrip("/"): 0 for url in urls})
        # Requests await in one loop, in a thread of its own.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        limits = httpx2.Limits(max_connections=_AT_ONCE * len(urls))
        self._http = httpx2.AsyncClient(timeout=httpx2.Timeout(timeout, pool=None), limits=limits, trust_env=False)

    def ask(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answer to each body, in their order.

        Raises:
            VllmError: a server refused one for good, or none gave an answer after all retries.
        """
        return asyncio.run_coroutine_threadsafe(self._ask_all(path, bodies), self._loop).result()

    def models(self) -> dict[str, list[dict[str, Any]]]:
        """What each server says that it serves."""
        urls = list(self._busy)
        asked = self._gather(self._one(url, "/v1/models", None) for url in urls)
        answers = asyncio.run_coroutine_threadsafe(asked, self._loop)
        return {url: answer.get("data", []) for url, answer in zip(urls, answers.result(), strict=True)}

    def close(self) -> None:
        """Closes the connections; nothing more can be asked."""
        asyncio.run_coroutine_threadsafe(self._http.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ask_all(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return await self._gather(self._tried(path, body) for body in bodies)

    @staticmethod
    async def _gather(coroutines: Any) -> list[Any]:
        tasks = [asyncio.ensure_future(each) for each in coroutines]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _tried(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One answer, from whichever server has least to do."""
        failed: set[str] = set()
        for attempt in range(self._retries + 1):
            url = min(self._busy, key=lambda each: (each in failed, self._busy[each]))
            self._busy[url] += 1
            try:
                return await self._one(url, path, body)
            except httpx2.HTTPError as error:
                failed.add(url)
                if attempt == self._retries:
                    raise VllmError(self._failure(url, error)) from error
            finally:
                self._busy[url] -= 1
            if failed >= self._busy.keys():
                await asyncio.sleep(_FIRST_PAUSE * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _one(self, url: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        method = "GET" if body is None else "POST"
        response = await self._http.request(method, url + path, json=body)
        if response.status_code in _PASSING:
            response.raise_for_status()
        if not response.is_success:
            raise VllmError(f"{url}{path} refused the request (HTTP {response.status_code}): {response.text[:1000]}")
        answer = response.json()
        if not isinstance(answer, dict):
            raise VllmError(f"expected a JSON object from {url}{path}, got {response.text[:200]!r}")
        return answer

    def _failure(self, url: str, error: httpx2.HTTPError) -> str:
        tried = f"{self._retries} retries"
        return f"no answer from {url} ({tried}): {type(error).__name__}: {error}. {self._words(url)}"
