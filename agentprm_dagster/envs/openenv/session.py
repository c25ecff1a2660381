"""One session with a server: a WebSocket over which OpenEnv's messages go, one question and one answer at a time.

Only JSON is read from it; nothing that a server sends is run, and nothing is installed or started to reach it.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentprm_dagster.envs.openenv.errors import (
    RefusedError,
    ServedEnvironmentError,
    ServerGoneError,
    UnexpectedReplyError,
)
from agentprm_dagster.envs.openenv.replies import Told, read_reply

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

MOST_BYTES = 4 * 2**20
"""Of one reply."""
MOST_SHOWN = 200
"""How much of a question is repeated in an error."""
_LEAVE_SECONDS = 1.0


class Session:
    """An environment of its own at the server. Not for use in several threads at once."""

    def __init__(self, url: str, seconds: float) -> None:
        """Connects.

        Args:
            url: of the server; http and https become ws and wss, as in OpenEnv's own clients.
            seconds: how long an answer may take.

        Raises:
            ServerGoneError: nothing answers there, or not as a WebSocket.
            RefusedError: the server has no session left (`is_full`).
        """
        self.url, self._seconds = url, seconds
        self._open = ExitStack()
        self._socket = _connect(self._open, url, seconds)
        try:
            self._ask("state")
        except UnexpectedReplyError:
            pass  # it is a state, which nobody reads
        except ServedEnvironmentError as error:
            if isinstance(error, RefusedError) and not error.is_full:
                return  # before a reset there need not be a state
            self.close()
            raise

    def reset(self, told: Mapping[str, Any]) -> Told:
        """Begins an episode; what is `told` chooses the task. Raises as `step` does."""
        return self._ask("reset", told)

    def step(self, action: Mapping[str, Any]) -> Told:
        """Sends an action.

        Raises:
            ServerGoneError: the connection broke, or no answer came in time; the session is of no use any more.
            RefusedError: the server answered with an error.
            UnexpectedReplyError: it answered with something else than an observation.
        """
        return self._ask("step", action)

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as is known here."""
        from websockets.protocol import State

        return self._socket.protocol.state is State.OPEN

    def close(self) -> None:
        """Leaves the server."""
        with suppress(Exception):  # it may be gone already
            self._socket.send(json.dumps({"type": "close"}))
        with suppress(Exception):
            self._open.close()

    def _ask(self, kind: str, data: Mapping[str, Any] | None = None) -> Told:
        from websockets.exceptions import ConnectionClosed, WebSocketException

        question = json.dumps({"type": kind} if data is None else {"type": kind, "data": data})
        asked = f"{question[:MOST_SHOWN]} at {self.url}"
        try:
            with suppress(ConnectionClosed):  # then `recv` tells what the server said before it ended
                self._socket.send(question)
            reply = self._socket.recv(timeout=self._seconds)
        except TimeoutError as error:
            raise ServerGoneError(
                f"expected an answer within {self._seconds:g} s (environment.seconds) to {asked}, got none"
            ) from error
        except (WebSocketException, OSError) as error:
            raise ServerGoneError(f"expected an answer to {asked}, and the connection ended: {error}") from error
        return read_reply(reply, asked)


def _connect(stack: ExitStack, url: str, seconds: float) -> "ClientConnection":
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    address = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/ws"
    limits: dict[str, Any] = {"open_timeout": seconds, "close_timeout": _LEAVE_SECONDS, "max_size": MOST_BYTES}
    try:
        socket = connect(address, compression=None, proxy=None if _is_here(url) else True, **limits)
        return stack.enter_context(socket)
    except (WebSocketException, OSError) as error:
        raise ServerGoneError(
            f"expected an OpenEnv server at {url} (environment.url), which {address} did not answer as: "
            f"{type(error).__name__}: {error}; start it, or name another"
        ) from error


def _is_here(url: str) -> bool:
    """Whether a server is on this machine's loopback, where no proxy leads."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
