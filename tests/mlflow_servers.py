"""A real MLflow server, and a door before it that can be shut, or answer badly."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from chat_servers import free_port

Manner = Literal["open", "hanging", "dripping", "empty"]
"""Passes everything on; never answers; answers a letter now and then, for ever; answers `{}` to everything."""

START_SECONDS = 120


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """`mlflow server` with its database and artifacts in a folder; its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
    }
    program = Path(sys.executable).with_name("mlflow")
    command = [str(program), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        _await(url, server, folder / "log")
        yield url
    finally:
        server.terminate()
        server.wait()


def _await(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    tick = Event()
    for _ in range(START_SECONDS * 10):
        assert server.poll() is None, log.read_text()
        try:
            urlopen(f"{url}/health")
            return
        except OSError:
            tick.wait(0.1)
    raise AssertionError(log.read_text())


class Door:
    """Passes requests on to a server while it is open."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.port = free_port()
        self.manner: Manner = "open"
        self.password: str | None = None
        """What `Authorization` must hold; the answer to anything else repeats it."""
        self.requests: list[str] = []
        """The methods and paths that were asked for, whatever came of it."""
        self.freed = Event()
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """What a client is told."""
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Listens."""
        self._server = _Server(self)
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def shut(self) -> None:
        """Nobody listens at its port any more."""
        self.freed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, door: Door) -> None:
        super().__init__(("127.0.0.1", door.port), _Handler)
        self.door = door


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        door = self.server.door
        door.requests.append(f"{self.command} {self.path.partition('?')[0]}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if door.manner == "hanging":
            door.freed.wait()
        elif door.manner == "dripping":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drops: ")
            while not door.freed.wait(0.05):
                self.wfile.write(b".")
        elif door.manner == "empty":
            self._say(200, "application/json", b"{}")
        elif door.password not in (None, self.headers.get("Authorization")):
            self._say(401, "text/plain", f"not you: {self.headers.get('Authorization')}".encode())
        else:
            self._pass_on(body)

    def _pass_on(self, body: bytes) -> None:
        kind = self.headers.get("Content-Type") or "application/octet-stream"
        headers = {"Content-Type": kind}
        question = Request(self.server.door.upstream + self.path, body or None, headers, method=self.command)
        try:
            with urlopen(question) as answer:
                self._say(answer.status, answer.headers["Content-Type"] or "text/plain", answer.read())
        except HTTPError as error:
            self._say(error.code, error.headers["Content-Type"] or "text/plain", error.read())

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""
