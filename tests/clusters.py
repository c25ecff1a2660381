"""A real Ray cluster of this machine: nodes on loopback addresses of their own, which can be killed one by one."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from pretended import eventually

_START = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]

_TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
"""The same for all clusters: a process reads it once."""


@dataclass
class Node:
    """The processes of one `ray start`."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """As a machine that loses its power."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for each in children:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(children)
        self.process.wait()


@dataclass
class Cluster:
    """One head and its other nodes, each of one core; 127.0.0.2 and up."""

    folder: Path
    environment: dict[str, str]
    nodes: list[Node] = field(default_factory=list)

    def start(self, **settings: str) -> Node:
        """Adds a node, the head first; `settings` are further variables of its environment."""
        host = f"127.0.0.{len(self.nodes) + 2}"
        head = ["--head", f"--port={self.port}", "--include-dashboard=false"]
        role = ["--address", self.address] if self.nodes else head
        command = [*_START, f"--node-ip-address={host}", f"--temp-dir={self.folder}", "--object-store-memory=200000000"]
        with (self.folder / f"{host}.txt").open("wb") as printed:
            process = subprocess.Popen(
                [*command, *role],
                env={**os.environ, **self.environment, **settings},
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        node = Node(process)
        self.nodes.append(node)
        told = self.folder / f"{host}.txt"
        assert eventually(lambda: b"block forever" in told.read_bytes()), told.read_text()
        return node

    @property
    def port(self) -> int:
        return int(self.address.partition(":")[2])

    @property
    def address(self) -> str:
        return self.environment["RAY_ADDRESS"]

    def close(self) -> None:
        for node in self.nodes:
            if node.process.poll() is None:
                node.kill()


@contextmanager
def cluster(nodes: int = 2, **settings: str) -> Iterator[Cluster]:
    """A cluster that this process's environment names meanwhile."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, pytest.MonkeyPatch.context() as patch:
        environment = {
            "RAY_ADDRESS": f"127.0.0.2:{_free_port()}",
            **_TOKEN,
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        started = Cluster(Path(folder), environment)
        try:
            for _ in range(nodes):
                started.start(**settings)
            yield started
        finally:
            if ray := sys.modules.get("ray"):
                ray.shutdown()  # or this process would end with the cluster
            started.close()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", 0))
        port: int = listening.getsockname()[1]
        return port
