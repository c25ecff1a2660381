"""A training as a stage asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agentprm_dagster.episodes.stage import Monitor, Resume, SilentMonitor

if TYPE_CHECKING:
    from agentprm_dagster.config.compute import TrainingCompute


def _usual() -> "TrainingCompute":
    from agentprm_dagster.config.compute import TrainingCompute  # which reads the kinds of improvement, and they this

    return TrainingCompute()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every training is given besides its data and its settings."""

    seed: int
    """Decides all that it draws."""
    monitor: Monitor = field(default_factory=SilentMonitor)
    """Is told how far it is."""
    resume: Resume | None = None
    """Where an earlier attempt has saved, which is gone on from; None saves nothing."""
    compute: "TrainingCompute" = field(default_factory=_usual)

    def part(self, name: str) -> "Job":
        """The same for a part of the work, which is saved by itself, and whose curves are `name/loss` and the like."""
        return replace(self, monitor=_Part(name, self.monitor), resume=self.resume and self.resume.part(name))


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    monitor: Monitor

    def progress(self, done: int, total: int, what: str) -> None:
        self.monitor.progress(done, total, f"{self.name} {what}")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.monitor.metrics({f"{self.name}/{name}": value for name, value in values.items()}, step)
