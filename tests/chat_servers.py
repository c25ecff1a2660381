"""A real server of a small model, and what stands before it to fail on demand."""

import json
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from agentprm_dagster.config import Model, Sft
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.launch.job import Job

KEY = "sk-never-to-be-seen"
LOOK = "REASON: I look around.\nACTION: look"


class Sent(NamedTuple):
    """An answer of a server's own."""

    body: bytes
    status: int = 200
    how: Literal["whole", "dripping", "cut"] = "whole"
    """`dripping`: after blanks, one every hundredth of a second for two seconds; `cut`: the half of it."""


Fault = int | str | bytes | Sent | Callable[[], object]
"""An HTTP status; `hang`; a body in an answer's place; something to do before the question is passed on."""

Rule = Callable[[dict[str, Any]], Fault]
"""From a question to what is sent."""


def completion(content: object, finish: str | None = "stop", usage: object = (100, 10), **message: object) -> bytes:
    """A chat completion; `usage` may be its two counts."""
    if isinstance(usage, tuple):
        usage = dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def teach(episodes: Sequence[Episode], folder: Path) -> None:
    """The checkpoint of a tiny model that knows these episodes by heart, asked with the paper's prompt."""
    from agentprm_dagster.engine import checkpoints
    from agentprm_dagster.engine.chat import Chat
    from agentprm_dagster.engine.embedded.model import build_model
    from agentprm_dagster.engine.tokenizer import build_tokenizer
    from agentprm_dagster.training.sft import fit, sft_rows

    said = [turn.response for episode in episodes for turn in episode.turns]
    for episode in episodes:
        for t, turn in enumerate(episode.turns):
            (asked,) = WORDING.prompt(episode.first_observation, episode.turns[:t], turn.candidates)
            said.append(asked["content"])
    tokenizer = build_tokenizer(said, frequent=2)
    sizes = Model(hidden_size=32, layers=2, heads=4, kv_heads=1, intermediate_size=64, context=4096)
    model, lessons = build_model(sizes, tokenizer, seed=0), sft_rows(episodes, Chat(tokenizer, WORDING), "restated")
    settings = Sft(epochs=30, learning_rate=2e-2, batch_episodes=2)
    fit(model, lessons, settings, job=Job(seed=0))
    checkpoints.save(model, tokenizer, folder)


@contextmanager
def serving(checkpoint: Path) -> Iterator[str]:
    """`transformers serve` in a thread; its URL."""
    from transformers.cli.serve import Serve

    port = free_port()
    server = Serve(str(checkpoint), host="127.0.0.1", port=port, device="cpu", log_level="error", non_blocking=True)
    try:
        while not server.server.started:
            server._thread.join(0.05)
            assert server._thread.is_alive(), "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill_server()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Proxy(ThreadingHTTPServer):
    """Passes questions on to a server, or answers by a rule, but for the faults that are next in `faults`."""

    def __init__(self, upstream: str | Rule) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.faults: deque[Fault | None] = deque()
        self.questions: list[dict[str, Any]] = []
        """Everything that was asked, faults included."""
        self.credentials: set[str | None] = set()
        """All that came in the header Authorization."""
        self.answered = 0
        """How often the server was asked and answered."""
        self.closing = Event()

    @property
    def url(self) -> str:
        """What a client is told."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.questions.append(json.loads(body))
        self.server.credentials.add(self.headers["Authorization"])
        fault = self.server.faults.popleft() if self.server.faults else None
        if fault is None and callable(self.server.upstream):
            fault = self.server.upstream(self.server.questions[-1])
        if isinstance(fault, int):
            self._say(fault, json.dumps({"error": {"message": f"no, {self.headers['Authorization']}"}}).encode())
        elif isinstance(fault, bytes):
            self._say(200, fault)
        elif isinstance(fault, Sent):
            self._send(fault)
        elif fault == "hang":
            self.server.closing.wait()
        else:
            if callable(fault):
                fault()
            self._pass_on(body)

    def _send(self, sent: Sent) -> None:
        if sent.how == "whole":
            self._say(sent.status, sent.body)
            return
        blanks = 200 if sent.how == "dripping" else 0
        self.send_response(sent.status)
        self.send_header("Content-Length", str(len(sent.body) + blanks))
        self.end_headers()
        try:
            for _ in range(blanks):
                self.wfile.write(b" ")
                self.server.closing.wait(0.01)
            self.wfile.write(sent.body if blanks else sent.body[: len(sent.body) // 2])
        except ConnectionError:
            pass  # the client has had enough
        self.close_connection = True

    def _pass_on(self, body: bytes) -> None:
        assert isinstance(self.server.upstream, str)
        question = Request(self.server.upstream + self.path, body, {"Content-Type": "application/json"})
        try:
            with urlopen(question) as answer:
                said = answer.read()
        except HTTPError as error:
            self._say(error.code, error.read())
            return
        self.server.answered += 1
        self._say(200, said)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@contextmanager
def proxy_before(upstream: str | Rule) -> Iterator[Proxy]:
    """A proxy before a server, or a server of such answers as a rule gives, running."""
    proxy = Proxy(upstream)
    thread = Thread(target=proxy.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
