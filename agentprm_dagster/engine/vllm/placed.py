"""vLLM servers on the nodes of a Ray cluster.

Each listens on its own node's loopback, beside an actor that asks it: requests go through Ray, so that no server can be
reached from the network.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import httpx2

from agentprm_dagster.cluster.connection import connected
from agentprm_dagster.cluster.parcels import Parcel, pack_folder, unpacked
from agentprm_dagster.engine.base import Role
from agentprm_dagster.engine.vllm.server import Server, VllmError, vllm_version

if TYPE_CHECKING:
    from agentprm_dagster.engine.vllm.kind import Settings

_AT_ONCE = 256
"""Requests that a server is asked at once."""
_LOOK_SECONDS = 0.5
_HOP = {"connection", "content-length", "host", "transfer-encoding"}
"""Headers of a connection and not of what is said on it."""


class PlacedServer:
    """A server on some node, used as `engine.vllm.server.Server` is. To be closed."""

    def __init__(self, ray: Any, number: int, arguments: tuple[Parcel, str, Role, "Settings", str]) -> None:
        """Starts it; `arguments` are those of `_Keeper`."""
        self.url = f"http://replica-{number}"
        """A name: it is the same wherever the server is started again."""
        self._ray, self._arguments = ray, arguments
        self._start()

    def _start(self) -> None:
        settings = self._arguments[3]
        # A server of one GPU leaves the rest of its memory to another; Ray gives several GPUs whole or not at all.
        gpus = settings.memory if settings.tensor_parallel == 1 else settings.tensor_parallel
        gpus = gpus if self._ray.cluster_resources().get("GPU") else 0
        keeper = self._ray.remote(num_cpus=1, num_gpus=gpus, max_concurrency=_AT_ONCE, max_restarts=0)(_Keeper)
        # A keeper that no node has room for yet answers nothing, so that all else looks at these two.
        self._keeper = keeper.remote(*self._arguments)
        self._answers = self._keeper.wait.remote(settings.start_seconds)
        self._end = self._keeper.outlive.remote()

    @property
    def ended(self) -> bool:
        """Whether the server, or its node, is gone."""
        return self._is_there(self._end)

    def start_again(self) -> None:
        """Starts a server that has ended once more, on whichever node has room, and does not wait for it."""
        if self.ended:
            self.close()
            self._start()

    def wait(self, seconds: float) -> None:
        """Waits until it answers.

        Raises:
            VllmError: it ended, or took longer than that, or no node has room for it.
        """
        try:
            self._ray.get(self._answers, timeout=seconds)
        except self._ray.exceptions.GetTimeoutError:
            there = {name: self._ray.cluster_resources().get(name, 0) for name in ("CPU", "GPU")}
            raise VllmError(
                f"no node had room for a vLLM server for {seconds:g} s: the cluster has {there}. Lower "
                "engine.replicas, add nodes, or raise engine.start_seconds"
            ) from None
        except self._ray.exceptions.RayError as error:
            raise VllmError(f"a vLLM server could not be started on the cluster: {error}") from None

    def words(self) -> str:
        """The end of what it printed."""
        if not self._is_there(self._answers):
            return "(it has not started yet)"
        with suppress(self._ray.exceptions.RayError):
            words: str = self._ray.get(self._keeper.words.remote())
            return words
        return "(its node is gone)"

    async def forward(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> httpx2.Response:
        """What it answers; httpx2.ConnectError where it is gone, or not there yet."""
        if not self._is_there(self._answers):
            raise httpx2.ConnectError(f"{self.url} has not started yet")
        try:
            status, told, body = await self._keeper.forward.remote(method, path, headers, content)
        except self._ray.exceptions.RayError as error:
            raise httpx2.ConnectError(f"{self.url}: {error}") from None
        return httpx2.Response(status, headers=told, content=body)

    def close(self) -> None:
        """Ends it, and waits until it has ended."""
        if self._is_there(self._answers):
            with suppress(self._ray.exceptions.RayError):
                self._ray.get(self._keeper.close.remote())
        self._ray.kill(self._keeper)

    def _is_there(self, answer: Any) -> bool:
        ready, _ = self._ray.wait([answer], timeout=0)
        return bool(ready)


class _Keeper:
    """On a node: holds a server, and asks it."""

    def __init__(self, checkpoint: Parcel, name: str, role: Role, settings: "Settings", version: str) -> None:
        import ray

        if (here := vllm_version()) != version:
            raise VllmError(f"the node has vLLM {here}, and the stage's machine {version}: install one on all")
        self._server = Server(unpacked(ray, checkpoint), name, role, settings)
        self._http = httpx2.Client(timeout=settings.timeout, trust_env=False, limits=_LIMITS)

    def outlive(self) -> None:
        while not self._server.ended:
            sleep(_LOOK_SECONDS)

    def wait(self, seconds: float) -> None:
        self._server.wait(seconds)

    def words(self) -> str:
        return self._server.words()

    def close(self) -> None:
        self._server.close()

    def forward(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        answer = self._http.request(method, self._server.url + path, headers=headers, content=content)
        return answer.status_code, _plain(answer.headers), answer.content


_LIMITS = httpx2.Limits(max_connections=_AT_ONCE)


class ThroughRay(httpx2.AsyncBaseTransport):
    """How a client's requests reach placed servers, by the names in their URLs."""

    def __init__(self, servers: list[PlacedServer]) -> None:
        self._servers = {httpx2.URL(server.url).host: server for server in servers}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends it on."""
        server = self._servers[request.url.host]
        return await server.forward(
            request.method, request.url.raw_path.decode(), _plain(request.headers), await request.aread()
        )


def start(checkpoint: Path, name: str, role: Role, settings: "Settings") -> list[PlacedServer]:
    """As many servers of a checkpoint as the settings ask for; ClusterError where there is no cluster."""
    ray = connected()
    arguments = pack_folder(ray, checkpoint), name, role, settings, vllm_version()
    return [PlacedServer(ray, number, arguments) for number in range(settings.replicas)]


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP}
