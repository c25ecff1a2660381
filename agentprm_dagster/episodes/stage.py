"""What every stage reports, whatever it makes: numbers, gates, a page to look at; and how it tells of its progress."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition without which nothing downstream may run, or which warns."""

    name: str
    """Short snake_case name, unique within the stage."""
    passed: bool
    message: str
    """What was expected, what came, and what to do if it did not pass."""
    value: float | None = None
    """The number that was judged."""
    warns: bool = False
    """Whether it only warns: what does not pass is told, and what is downstream runs."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """The account a stage gives of what it made."""

    metrics: Mapping[str, float]
    """Plain numbers, comparable from iteration to iteration."""
    gates: tuple[Gate, ...]
    preview: str
    """Markdown that a person looks at."""


SAVE_SECONDS = 120.0
"""How often long work is saved, unless somebody says otherwise."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a stage saves work that is not done, so that an attempt that was killed is gone on from."""

    folder: Path
    """Outlives the attempt, and is emptied when the stage is committed; made when first needed."""
    seconds: float = SAVE_SECONDS
    """Between two saves; 0 saves after every step."""

    def part(self, name: str) -> "Resume":
        """The same for a part of the work."""
        return replace(self, folder=self.folder / name)


class Monitor(Protocol):
    """Where a running stage tells how far it is."""

    def progress(self, done: int, total: int, what: str) -> None:
        """`done` of `total` units of `what` are finished."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a training step."""


class SilentMonitor:
    """A monitor that nobody watches."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Says nothing."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Says nothing."""


@dataclass(frozen=True, slots=True)
class PartMonitor:
    """A monitor that says which part of a stage it is told about."""

    part: str
    monitor: Monitor

    def progress(self, done: int, total: int, what: str) -> None:
        """Names the part before what is counted."""
        self.monitor.progress(done, total, f"{self.part} {what}")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Passes the numbers on."""
        self.monitor.metrics(values, step)
