"""Which games an agent is scored on, by whose rules and within how many actions: the same for all who are compared.

A panel has one digest. Neither the order of folders, nor where they lie, nor who plays, in how many processes and on
which engine, is part of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.envs.base import EnvironmentKind, NamesRules, PlaysByReference, Task, TaskRef
from agentprm_dagster.envs.kinds import KINDS, kind_of, settings_class
from agentprm_dagster.envs.settings import EnvironmentSettings
from agentprm_dagster.provenance.canonical import canonical, digest_of
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.section import Actions, Distinct, NotNegative, Positive, Section

EngineName = Literal["household", "stock"]
"""Ours, or the one that others use, where an environment has both."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PanelGame(Section):
    """One game of a panel."""

    id: str
    kind: str
    """What kind of task it sets."""
    digest: Sha256
    """Of its id and of all that is read of its files."""


class Source(Section):
    """How the games are found again; two panels of the same games are the same, however these were found."""

    experiment: str
    settings: dict[str, JsonValue]
    """The experiment's `environment`."""
    seed: NotNegative
    """The experiment's, which decides what is generated and which rooms are held out."""
    limit: Positive | None = None
    """So many games of each split, evenly spread over those sorted by id, so that no kind of task is left out; None:
    all."""


class Panel(Section):
    """What is played."""

    environment: str
    """The kind of environment."""
    rules: str
    """Whose rules, and which version of them."""
    caps: Annotated[Distinct[Actions], Field(min_length=1)]
    """Actions within which a game has to be won, in growing order; it is played once, to the last."""
    splits: Annotated[dict[str, tuple[PanelGame, ...]], Field(min_length=1)]
    """Games by split, sorted by id."""
    source: Source

    @property
    def digest(self) -> str:
        """sha256 over all but `source`."""
        return digest_of(self.model_dump(mode="json", exclude={"source"}))

    @property
    def cap(self) -> int:
        """Actions that a game is played for."""
        return max(self.caps)

    @property
    def kind(self) -> EnvironmentKind:
        """The kind of environment; ScoreError where this version has no such kind."""
        if self.environment not in KINDS:
            raise ScoreError(f"expected an environment, one of {', '.join(KINDS)}; the panel's is {self.environment!r}")
        return kind_of(self.environment)


def make_panel(experiment: str, splits: Sequence[str], caps: Sequence[int], limit: int | None = None) -> Panel:
    """The panel of an experiment's own games; those that are generated are made where they are not there.

    Raises:
        ExperimentError: there is no such experiment.
        ScoreError: it has no such split.
        TasksNotFoundError, TasksCountError, TaskFileError: see `TasksResource`.
    """
    found = load_experiment(experiment)
    counts = found.environment.counts
    if missing := [split for split in splits if split == "train" or counts.get(split, 0) == 0]:
        there = ", ".join(name for name, count in counts.items() if name != "train" and count != 0)
        raise ScoreError(f"{experiment} has no {', '.join(missing)} to score on: choose --split of {there}")
    settings = found.environment.model_dump(mode="json")
    source = Source(experiment=experiment, settings=settings, seed=found.seed, limit=limit)
    kind = kind_of(found.environment.kind)
    games = {split: games_of(kind, find_games(source, split)) for split in sorted(set(splits))}
    return Panel(
        environment=kind.name, rules=rules_of(kind), caps=tuple(sorted(set(caps))), splits=games, source=source
    )


def games_of(kind: EnvironmentKind, refs: Sequence[TaskRef]) -> tuple[PanelGame, ...]:
    """Games with the digests of their files, sorted by id."""
    games = (PanelGame(id=ref.id, kind=ref.kind, digest=kind.digest([ref])) for ref in refs)
    return tuple(sorted(games, key=lambda game: game.id))


def find_games(source: Source, split: str) -> tuple[TaskRef, ...]:
    """A split's games on this machine, sorted by id; raises as `TasksResource.split` does."""
    settings: EnvironmentSettings = settings_class(str(source.settings["kind"])).model_validate_json(
        canonical(source.settings)
    )
    refs = TasksResource().split(settings, source.seed, split, None)
    ordered = tuple(sorted(refs, key=lambda ref: ref.id))
    count = min(source.limit or len(ordered), len(ordered))
    return tuple(ordered[i * len(ordered) // count] for i in range(count))


def rules_of(kind: EnvironmentKind) -> str:
    """Whose rules a kind of environment plays by; its own name where it does not say."""
    return kind.rules if isinstance(kind, NamesRules) else kind.name


def open_game(kind: EnvironmentKind, ref: TaskRef, engine: EngineName) -> Task:
    """A game on an engine; ScoreError where the environment has no other than ours."""
    if engine == "household":
        return kind.open(ref)
    if not isinstance(kind, PlaysByReference):
        raise ScoreError(f"--engine stock: {kind.name} is played by one engine alone: leave it out")
    return kind.reference(ref)


def differences(one: Panel, other: Panel) -> Iterator[str]:
    """In what two panels differ, in words."""
    for name in ("environment", "rules", "caps"):
        if (ours := getattr(one, name)) != (theirs := getattr(other, name)):
            yield f"{name}: {_plain(ours)} and {_plain(theirs)}"
    for split in sorted(one.splits.keys() | other.splits.keys()):
        yield from _split_differences(split, _by_id(one, split), _by_id(other, split))


def _by_id(panel: Panel, split: str) -> Mapping[str, PanelGame]:
    return {game.id: game for game in panel.splits.get(split, ())}


def _split_differences(split: str, ours: Mapping[str, PanelGame], theirs: Mapping[str, PanelGame]) -> Iterator[str]:
    if ours.keys() != theirs.keys():
        odd = min(ours.keys() ^ theirs.keys())
        both = len(ours.keys() & theirs.keys())
        yield f"{split}: {len(ours)} and {len(theirs)} games, {both} of them the same; {odd} is in one alone"
    if other := sorted(each for each in ours.keys() & theirs.keys() if ours[each] != theirs[each]):
        yield f"{split}: {len(other)} games of the same id have other files, {other[0]} among them"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
