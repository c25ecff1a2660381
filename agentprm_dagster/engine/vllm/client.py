"""Requests to one or several vLLM servers of the same model: many at once, each to the least busy, tried again.

What a server that has died was asked goes to the others; where none answers, the error says what it printed last.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from threading import Thread
from typing import Any, TypeVar

import httpx2

from agentprm_dagster.engine.vllm.answers import Answer, Models, read_answer
from agentprm_dagster.engine.vllm.server import VllmError

_AT_ONCE = 256
"""Requests under way at each server; it queues what it cannot compute together."""
_FIRST_PAUSE = 0.5
"""Seconds before the first new attempt; twice as long before each further one."""
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
"""Statuses of what may go well the next time."""

T = TypeVar("T", bound=Answer)


class Client:
    """Asks servers; several threads may ask at once. To be closed."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: float,
        retries: int,
        words: Callable[[str], str],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """
        Args:
            timeout: seconds that one answer may take.
            words: says of a server's URL how it is and what it printed, for errors.
            transport: how the servers are reached; None is by their addresses.
        """
        self._retries, self._words = retries, words
        self._busy = Counter(dict.fromkeys(urls, 0))
        # Requests await in one loop, in a thread of its own.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        limits = httpx2.Limits(max_connections=_AT_ONCE * len(urls))
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout, pool=None), limits=limits, trust_env=False, transport=transport
        )

    def ask(self, path: str, bodies: Iterable[Mapping[str, Any]], shape: type[T]) -> list[T]:
        """The answer to each body, in their order.

        Raises:
            VllmError: a server refused one for good, answered something of another shape, or gave no answer after all
                retries.
        """
        return self._wait(self._tried(path, body, shape) for body in bodies)

    def models(self) -> dict[str, list[str]]:
        """The names of the models that each server says it serves; VllmError as for `ask`."""
        asked = [self._tried("/v1/models", None, Models, [url]) for url in self._busy]
        answers = zip(self._busy, self._wait(asked), strict=True)
        return {url: [model.id for model in answer.data] for url, answer in answers}

    def close(self) -> None:
        """Closes the connections; nothing more can be asked."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._http.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        async def gather() -> list[T]:
            tasks = [asyncio.ensure_future(each) for each in coroutines]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        return asyncio.run_coroutine_threadsafe(gather(), self._loop).result()

    async def _tried(
        self, path: str, body: Mapping[str, Any] | None, shape: type[T], urls: Sequence[str] | None = None
    ) -> T:
        """One answer, from whichever server has least to do."""
        among, failed = urls or list(self._busy), set[str]()
        for attempt in range(self._retries + 1):
            url = min(among, key=lambda each: (each in failed, self._busy[each]))
            self._busy[url] += 1
            try:
                return await self._one(url + path, body, shape)
            except httpx2.HTTPError as error:
                failed.add(url)
                if attempt == self._retries:
                    raise VllmError(self._failure(url, error)) from error
            finally:
                self._busy[url] -= 1
            if failed.issuperset(among):
                await asyncio.sleep(_FIRST_PAUSE * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _one(self, url: str, body: Mapping[str, Any] | None, shape: type[T]) -> T:
        response = await self._http.request("GET" if body is None else "POST", url, json=body)
        if response.status_code in _PASSING:
            response.raise_for_status()
        if not response.is_success:
            raise VllmError(f"{url} refused the request (HTTP {response.status_code}): {response.text[:1000]}")
        return read_answer(shape, response.content, url)

    def _failure(self, url: str, error: httpx2.HTTPError) -> str:
        return f"no answer from {url} ({self._retries} retries): {type(error).__name__}: {error}. {self._words(url)}"
