"""MLflow, asked with patience: every call has a deadline, whatever its client would wait for.

A call that failed slowly earns MLflow a rest, thirty times as long, in which nothing is asked. So an MLflow that is
gone or hangs costs a run seconds, and one that comes back is found again. What fails costs one warning an outage.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cache
from os import environ
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from agentprm_dagster.home import make_private, mlflow_folder
from agentprm_dagster.tracking.uri import credentials, hidden, is_server, masked, without_credentials

if TYPE_CHECKING:  # importing mlflow takes seconds, so it is imported where it is used
    from mlflow import MlflowClient

PATIENCE = 10.0
"""Seconds a call may take."""
OPENING = 60.0
"""Seconds for opening a database on this machine, where MLflow makes its tables, and for importing a client."""
QUICK = 1.0
"""A call that failed within so many seconds costs too little to earn a rest."""
REST = 30.0
"""How many times as long as a failed call took nothing is asked."""
LONGEST_WORDS = 400

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)


def behind() -> Path:
    """A file that is there while MLflow may lack something that it was to be told."""
    return mlflow_folder() / "behind"


class TrackerError(Exception):
    """MLflow did not do what it was asked."""

    def __init__(self, message: str, *, repeated: bool = False) -> None:
        super().__init__(message)
        self.repeated = repeated
        """Whether the call before failed too, so that there is nothing new to say."""


class Mlflow:
    """The MLflow at one address."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.patience = PATIENCE
        self.place = masked(uri)
        """The address as people may see it."""
        self.experiments: dict[str, str] = {}
        """The ids of the experiments of runs that this process has begun, by the runs'."""
        self.is_server = is_server(uri)
        self._client: MlflowClient | None = None
        self._failing = False
        self._resting_until = 0.0

    def ask(self, work: Callable[["MlflowClient"], Answer], *, more: float = 0.0) -> Answer:
        """What `work` answers, which may take so many seconds more than usual.

        Raises:
            TrackerError: it failed, took longer, or MLflow is given a rest.
        """
        import mlflow  # noqa: F401  # seconds, before the clock starts

        if monotonic() < self._resting_until:
            raise TrackerError(f"MLflow at {self.place} failed before and is given a rest", repeated=True)
        began = monotonic()
        try:
            client = self._client = self._client or within(self._opening, self._open)
            answer = within(self.patience + more, lambda: work(client))
        except Exception as error:  # its transports and databases raise what they like; no stage may fail by it
            repeated, self._failing = self._failing, True
            took = monotonic() - began
            self._resting_until = monotonic() + (REST * took if took > QUICK else 0.0)
            # Neither its traceback nor its chain is kept: both may hold a password.
            raise TrackerError(f"MLflow at {self.place}: {self._words(error)}", repeated=repeated) from None
        self._failing = False
        return answer

    @contextmanager
    def tolerated(self, what: str) -> Iterator[None]:
        """A TrackerError within costs a warning, the first of an outage, and the rest of the block.

        `what` says what was done: "linking prm[2] to its run".
        """
        try:
            yield
        except TrackerError as error:
            with suppress(OSError):
                behind().parent.mkdir(parents=True, exist_ok=True)
                behind().touch()
            if not error.repeated:
                _log.warning(
                    "%s, when %s. The work goes on; `agentprm mlflow sync` writes down later what is missing.",
                    error,
                    what,
                )

    @property
    def _opening(self) -> float:
        """Only another machine's database can be gone: a server is not asked for anything yet."""
        return OPENING if self.is_server or self.uri.startswith("sqlite") else self.patience

    def _open(self) -> "MlflowClient":
        from mlflow import MlflowClient

        # They warn of every try, and what came of it is told here.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)
        if not self.is_server:
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 1  # ten tries take two minutes, and the reason would come after our patience
            make_private(mlflow_folder())
            return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        user, password = credentials(self.uri)
        if user and password:  # an address with a password would stand in its errors
            environ["MLFLOW_TRACKING_USERNAME"], environ["MLFLOW_TRACKING_PASSWORD"] = user, password
        plain = without_credentials(self.uri)
        return MlflowClient(tracking_uri=plain, registry_uri=plain)

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError) and not str(error):
            return "no answer in time"
        words = hidden(" ".join(str(error).split()), self.uri)
        return f"{type(error).__name__}: {words[:LONGEST_WORDS]}"


@cache
def mlflow_at(uri: str) -> Mlflow:
    """The MLflow at an address: one a process, so that all that ask it know how it fares."""
    return Mlflow(uri)


def within(seconds: float, work: Callable[[], Answer]) -> Answer:
    """What `work` answers or raises; TimeoutError after so many seconds, and the work is left to itself."""
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # raised again below, in the thread that waits
            answer.set_exception(error)

    Thread(target=run, daemon=True, name="mlflow").start()  # one that hangs must not keep the process from ending
    return answer.result(seconds)
