"""A server that speaks OpenEnv's protocol without the package: counting to a number, with whatever fault a test asks.

`tests/envs/openenv/test_served.py` plays what the package itself serves.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from websockets.sync.server import Server, ServerConnection, serve

COMMANDS = ["add two", "add one", "wait"]

Reply = dict[str, Any]


def told(text: str, reward: float | None = 0.0, *, done: bool = False, **fields: Any) -> Reply:
    """An observation as OpenEnv sends it."""
    observation = {"text": text, "admissible_commands": COMMANDS, "truncated": False, "metadata": {}, **fields}
    return {"type": "observation", "data": {"observation": observation, "reward": reward, "done": done}}


def failed(code: str, message: str) -> Reply:
    """An error as OpenEnv sends it."""
    return {"type": "error", "data": {"message": message, "code": code}}


class Counting:
    """One session: the goal is 2, or more where the seed says so; a command that is not known is an error."""

    def __init__(self) -> None:
        self.goal = self.sum = 0

    def answer(self, asked: Reply) -> Reply:
        data = asked["data"]
        if asked["type"] == "reset":
            self.goal, self.sum = 2 + data["seed"] % 3, 0
            return told(f"You stand at 0.\nYour task is to: reach {self.goal}.", None)
        if data["command"] not in COMMANDS:
            return failed("EXECUTION_ERROR", f"what is {data['command']!r}?")
        before = self.sum
        self.sum = min(self.sum + {"add one": 1, "add two": 2, "wait": 0}[data["command"]], self.goal)
        return told(f"You stand at {self.sum}.", (self.sum - before) / self.goal, done=self.sum == self.goal)


@dataclass
class Stub:
    """A server that runs, and what it was asked."""

    url: str
    new: Callable[[], Any] = Counting
    """What answers in a session."""
    instead: Callable[[Reply], Any] = lambda asked: None
    """What is answered instead: a reply, a text as it is, or an exception to be raised; None for nothing special."""
    asked: list[Reply] = field(default_factory=list)
    sessions: int = 0
    """How many have begun."""
    most: int = 64
    """How many may be open."""
    open: int = 0
    connections: set[ServerConnection] = field(default_factory=set)
    ended: Event = field(default_factory=Event)
    """What waits for it goes on when the server ends."""

    def restarted(self) -> None:
        """Ends all connections, and waits until the clients have heard of it."""
        for connection in [*self.connections]:
            connection.close()

    def handle(self, connection: ServerConnection) -> None:
        self.sessions += 1
        self.open += 1
        self.connections.add(connection)
        session = self.new()
        try:
            if self.open > self.most:
                connection.send(json.dumps(failed("CAPACITY_REACHED", "no session is free")))
                return
            for message in connection:
                asked = json.loads(message)
                if asked["type"] == "close":
                    return
                if asked["type"] == "state":
                    connection.send(json.dumps({"type": "state", "data": {}}))
                    continue
                self.asked.append(asked)
                reply = self.instead(asked) or session.answer(asked)
                connection.send(reply if isinstance(reply, str) else json.dumps(reply))
        finally:
            self.open -= 1
            self.connections.discard(connection)


@contextmanager
def counting_server() -> Iterator[Stub]:
    """A server on the loopback until the block ends."""
    stub = Stub("")

    def quiet(connection: ServerConnection) -> None:
        stub.handle(connection)

    with serve(quiet, "127.0.0.1", 0) as server:
        stub.url = f"http://127.0.0.1:{_port(server)}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield stub
        finally:
            stub.ended.set()
            server.shutdown()
            thread.join()


def _port(server: Server) -> int:
    return int(server.socket.getsockname()[1])
