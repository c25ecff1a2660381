"""Telling how far a running stage is: in Dagster's log, in MLflow, and to whoever started it: as a bar in a terminal,
else as a line a minute.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LOG_EVERY_SECONDS = 10.0
LINE_EVERY_SECONDS = 60.0

_bars: ContextVar["Bars | Lines | None"] = ContextVar("bars", default=None)


class Bars:
    """Progress bars of the stage that runs; a line for each that is done."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: int, total: int) -> None:
        """Moves the bar called `name`, made when first named."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def conclude(self, line: str) -> None:
        """Puts a line in the place of all bars."""
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Lines:
    """The same without a terminal, as in a file: how far the stage is once a minute, and a line when it is done."""

    def __init__(self) -> None:
        self._told_at = monotonic()

    def show(self, name: str, done: int, total: int) -> None:
        """Tells how far `name` is, if nothing was told for a minute."""
        if monotonic() - self._told_at >= LINE_EVERY_SECONDS:
            self.conclude(f"{name}: {done} of {total}")

    def conclude(self, line: str) -> None:
        """Tells a line."""
        self._told_at = monotonic()
        print(line, file=sys.stderr, flush=True)


def conclude(line: str) -> None:
    """Tells whoever started it, at a terminal or not, how a stage ended."""
    if bars := _bars.get():
        bars.conclude(line)


@contextmanager
def progress_bars() -> Iterator[None]:
    """Within it, stages that run in this thread tell on the error output how far they are: as bars in a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        with _told_by(Lines()):
            yield
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console) as progress, _told_by(Bars(progress)):
        yield


@contextmanager
def _told_by(bars: Bars | Lines) -> Iterator[None]:
    token = _bars.set(bars)
    try:
        yield
    finally:
        _bars.reset(token)


class MetricSink(Protocol):
    """Where numbers over steps go."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a training step."""


class StageMonitor:
    """The `Monitor` of a stage that runs as a Dagster asset."""

    def __init__(self, stage: str, log: Callable[[str], None], sink: MetricSink) -> None:
        self._stage = stage
        self._log = log
        self._sink = sink
        self._logged_at = monotonic()

    def progress(self, done: int, total: int, what: str) -> None:
        """Moves the bar at every call, logs at most every ten seconds and at the end."""
        if bars := _bars.get():
            bars.show(f"{self._stage} {what}", done, total)
        if done >= total or monotonic() - self._logged_at >= LOG_EVERY_SECONDS:
            self._logged_at = monotonic()
            self._log(f"{what}: {done} of {total}")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Hands the numbers to the tracker."""
        self._sink.metrics(values, step)
