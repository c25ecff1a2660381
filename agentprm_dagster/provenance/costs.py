"""What artifacts cost to make: seconds, tokens and decisions as their stages counted them, from manifests alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Manifest
from agentprm_dagster.provenance.store import ArtifactStore


@dataclass(frozen=True, slots=True)
class Cost:
    """One artifact's; None where its stage does not count such a thing."""

    asset: str
    iteration: int
    """0 where it has none."""
    seconds: float
    """Wall-clock, when it was made; it costs nothing to find it made before."""
    tokens: float | None
    """Tokens that models read and drew, in training once a pass."""
    decisions: float | None
    """Turns that a policy played."""
    environment_seconds: float | None
    """Time inside the games, over all cores."""

    @property
    def stage(self) -> str:
        """`prm[2]`; `demonstrations`."""
        return f"{self.asset}[{self.iteration}]" if self.iteration else self.asset

    @classmethod
    def of(cls, made: Manifest) -> Self:
        """What a manifest says."""
        counted = made.metrics.get
        played = counted("environment_seconds")
        # Targets count decisions too, those of the rollouts.
        decisions = None if played is None else counted("decisions")
        return cls(made.asset, made.iteration, made.seconds, counted("tokens"), decisions, played)


def costs(artifacts: Iterable[Artifact]) -> list[Cost]:
    """Each artifact's cost, in the order in which they were made."""
    return [Cost.of(artifact.manifest) for artifact in sorted(artifacts, key=lambda each: each.manifest.started)]


def current_artifacts(store: ArtifactStore, experiment: str) -> list[Artifact]:
    """The current version of everything that an experiment has made; ArtifactError where one is not there."""
    return [store.read(store.root / version.place) for version in store.heads(experiment)]


def total(rows: Iterable[Cost]) -> Cost:
    """The sum of all rows."""
    rows = list(rows)

    def over(name: str) -> float | None:
        known = [value for row in rows if (value := getattr(row, name)) is not None]
        return sum(known) if known else None

    return Cost("all", 0, over("seconds") or 0.0, over("tokens"), over("decisions"), over("environment_seconds"))


def cells(row: Cost) -> tuple[str, ...]:
    """A row as text, in the order of COLUMNS."""
    numbers = (row.tokens, row.decisions, row.environment_seconds)
    return row.stage, f"{row.seconds:,.1f}", *("" if number is None else f"{number:,.0f}" for number in numbers)


COLUMNS = ("stage", "seconds", "tokens", "decisions", "seconds inside the games")


def by_iteration(ledger: Iterable[Cost]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A table's head and lines: seconds of every stage in every iteration and all else that it took; a sum."""
    rows = list(ledger)
    iterations = sorted({row.iteration for row in rows})
    stages = list(dict.fromkeys(row.asset for row in rows))
    head = ("stage", *(f"iteration {i}" if i else "once" for i in iterations), "seconds", "tokens", "decisions")

    def line(name: str, of: list[Cost]) -> tuple[str, ...]:
        each = ([row for row in of if row.iteration == i] for i in iterations)
        _, *all_of, _ = cells(total(of))
        return name, *(f"{total(some).seconds:,.1f}" if some else "" for some in each), *all_of

    return head, [*(line(stage, [row for row in rows if row.asset == stage]) for stage in stages), line("all", rows)]
