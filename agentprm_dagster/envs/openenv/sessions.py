"""The sessions that this process has with a server, lent to the environments that are being played."""

import logging
import os
from collections import OrderedDict
from functools import cache
from threading import RLock
from typing import Any
from weakref import ref

from agentprm_dagster.envs.openenv.errors import RefusedError, ServedEnvironmentError
from agentprm_dagster.envs.openenv.session import Session

_log = logging.getLogger(__name__)


class Sessions:
    """At most so many sessions with one server, or as many as it allows; the environment that waited longest loses its
    own to another.

    `lock` is held by whoever asks a session something, so that none is taken from under a question.
    """

    def __init__(self, url: str, seconds: float, most: int) -> None:
        self._url, self._seconds, self._most = url, seconds, most
        self.lock = RLock()
        self._free: list[Session] = []
        self._lent: OrderedDict[int, tuple[ref[Any], Session]] = OrderedDict()
        """By borrower, the one that asked last at the end."""

    def held(self, borrower: object) -> Session | None:
        """The session that a borrower still has; none where its connection was lost."""
        if (lent := self._lent.get(id(borrower))) is None or lent[0]() is not borrower or not lent[1].is_open:
            return None
        self._lent.move_to_end(id(borrower))
        return lent[1]

    def borrow(self, borrower: object) -> Session:
        """A session for a borrower, which may be in the middle of another's episode; raises as `Session` does."""
        session = self.held(borrower) or self._available()
        self._lent[id(borrower)] = ref(borrower), session
        return session

    def give_back(self, borrower: object, *, broken: bool = False) -> None:
        """Ends a loan; a broken session is closed and no other gets it."""
        lent = self._lent.get(id(borrower))
        if lent is not None and lent[0]() is borrower:
            del self._lent[id(borrower)]
            if broken:
                lent[1].close()
            else:
                self._free.append(lent[1])

    def close(self) -> None:
        """Leaves the server; what is borrowed later connects again."""
        for session in (*self._free, *(session for _, session in self._lent.values())):
            session.close()
        self._free.clear()
        self._lent.clear()

    def _available(self) -> Session:
        for key, (borrower, session) in list(self._lent.items()):
            if borrower() is None or not session.is_open:
                self._free.append(self._lent.pop(key)[1])
        while self._free:
            if (session := self._free.pop()).is_open:
                return session
            session.close()
        if len(self._lent) < self._most:
            try:
                return Session(self._url, self._seconds)
            except RefusedError as error:
                if not self._lent:
                    raise ServedEnvironmentError(
                        f"{error}; have the server allow more sessions (OpenEnv's max_concurrent_envs): every process "
                        "that plays needs one"
                    ) from error
                self._most = len(self._lent)
                _log.warning("%s allows this process %d sessions: episodes take turns", self._url, self._most)
        return self._lent.popitem(last=False)[1][1]


def sessions_with(url: str, seconds: float, most: int) -> Sessions:
    """The sessions that this process has with a server: a process that was forked has none of its parent's."""
    return _sessions(os.getpid(), url, seconds, most)


@cache
def _sessions(process: int, url: str, seconds: float, most: int) -> Sessions:
    return Sessions(url, seconds, most)
