"""`agentprm run --dry-run`: what a run would make, and what it would find or adopt; nothing is made."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Literal

import dagster as dg
import typer

from agentprm_dagster.assembly import build_definitions, resources
from agentprm_dagster.automation import iteration_assets
from agentprm_dagster.commands.run import SILENT, failures, was_decided
from agentprm_dagster.commands.tables import print_table
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.home import artifacts_root, scratch_folder, write_privately
from agentprm_dagster.iterations import FIRST, add_iterations
from agentprm_dagster.provenance.announcements import ROLE
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.manifest import AssetPartition, Input, Recipe, Version
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tracker import MlflowTracker
from agentprm_dagster.stages.decisions import current_decision


class WouldBeMade(ArtifactError):
    """What a stage asks for was never made."""


class DryStore(ArtifactStore):
    """The store as it would be: what is found or adopted becomes current here alone, and nothing is made."""

    def __init__(self) -> None:
        super().__init__(artifacts_root(), scratch_folder())
        self.found: dict[AssetPartition, Artifact] = {}
        self.origins: dict[AssetPartition, str] = {}
        """The experiments that what would be adopted is of."""
        self.missing: set[AssetPartition] = set()
        self._announced: dict[tuple[str, int], Input] = {}

    def lock(self, experiment: str, asset: str, iteration: int) -> AbstractContextManager[None]:
        """Keeps nobody out."""
        return nullcontext()

    def reuse(self, recipe: Recipe, dagster_run_id: str | None = None) -> Artifact | None:
        """See `ArtifactStore`; raises WouldBeMade where there is nothing to find or adopt."""
        place = recipe.partition
        if (found := self.find(recipe)) is None:
            if (other := self.find_elsewhere(recipe)) is None:
                self.missing.add(place)
                raise WouldBeMade(str(place))
            self.origins[place] = str(other.version)
            renamed = replace(other.manifest, experiment=recipe.experiment, inputs=recipe.inputs)
            found = Artifact(renamed, other.path, other.uri)
        self.found[place] = found
        return found

    def head(self, experiment: str, asset: str, iteration: int) -> Version:
        """See `ArtifactStore`."""
        found = self.found.get(AssetPartition(experiment, asset, iteration))
        return found.version if found else super().head(experiment, asset, iteration)

    def get(self, experiment: str, asset: str, iteration: int, digest: str) -> Artifact:
        """See `ArtifactStore`."""
        found = self.found.get(AssetPartition(experiment, asset, iteration))
        return found if found and found.digest == digest else super().get(experiment, asset, iteration, digest)

    def has(self, experiment: str, asset: str, iteration: int) -> bool:
        """See `ArtifactStore`."""
        return AssetPartition(experiment, asset, iteration) in self.found or super().has(experiment, asset, iteration)

    def announce(
        self, experiment: str, iteration: int, policy: Artifact, by: str | None = None, why: str | None = None
    ) -> Input:
        """See `ArtifactStore`."""
        return self._announced.setdefault((experiment, iteration), policy.as_input(ROLE))

    def announced(self, experiment: str, iteration: int) -> Input:
        """See `ArtifactStore`."""
        return self._announced.get((experiment, iteration)) or super().announced(experiment, iteration)


class DryTracker(MlflowTracker):
    """Tells MLflow nothing: no run begins, as nothing is made, and no policy becomes the champion."""

    def champion(self, artifact: Artifact) -> None:
        """See `MlflowTracker`."""


@dataclass(frozen=True)
class Outlook:
    """What a run would do with a stage."""

    stage: str
    iteration: int
    outcome: Literal["found", "adopted", "made", "follows"]
    """`follows`: made after what it reads, unless that comes out as it was before."""
    origin: str | None
    """What would be adopted."""
    seconds: float | None
    """What it took when it was made under this name, if it was."""


def print_dry_run(names: Sequence[str], iterations: int | None, compute: str, *, as_json: bool) -> None:
    """Prints what a run of these experiments would make; exit code 1 where it would fail.

    Games that are generated, and are not there, are generated: which ones are played decides what is found.
    """
    write_privately()
    found = {name: outlook(name, iterations, compute) for name in names}
    if as_json:
        print(json.dumps({name: [asdict(each) for each in every] for name, every in found.items()}, indent=2))
        return
    for name, every in found.items():
        print(f"{name}:")
        print_table(("stage", "would be", "took last time", "from"), map(_cells, every), 3)


def _cells(each: Outlook) -> tuple[str, ...]:
    words = {"follows": "made, if what it reads changes"}
    name = f"{each.stage}[{each.iteration}]" if each.iteration else each.stage
    seconds = "" if each.seconds is None else f"{each.seconds:,.0f} s"
    return name, words.get(each.outcome, each.outcome), seconds, each.origin or ""


def outlook(name: str, iterations: int | None, compute: str = "") -> list[Outlook]:
    """What a run would do with every stage of an experiment, in the order in which they are run.

    The assets are run themselves, with a store in which nothing can be made. Once an iteration lacks something, what
    later ones would read is not known.
    """
    experiment, store = load_experiment(name), DryStore()
    bound = resources(compute)
    bound["stages"] = StagesResource(artifacts=_artifacts(store), tracker=DryTracker(), compute=compute)
    job = build_definitions({name: experiment}, bound).resolve_job_def(name)
    places: list[AssetPartition] = []
    with dg.DagsterInstance.ephemeral() as instance:
        for iteration in range(FIRST, (iterations or experiment.iterations) + 1):
            keys = iteration_assets(job, iteration)
            of_it = _places(job, keys, iteration)
            for place in of_it:  # what has no iteration is looked at again in each
                store.found.pop(place, None)
            if not store.missing and _goes_on(store, name, iteration):
                _look(job, instance, store, keys, iteration)
            places = [*(place for place in places if place not in of_it), *of_it]
    return [_of(store, place) for place in places]


def _goes_on(store: DryStore, experiment: str, iteration: int) -> bool:
    """Whether an iteration follows the one before."""
    before = None if iteration == FIRST else current_decision(store, experiment, iteration - 1)
    return before is None or before.verdict == "promote"


def _places(job: dg.JobDefinition, keys: Sequence[dg.AssetKey], iteration: int) -> list[AssetPartition]:
    graph = job.asset_layer.asset_graph
    order = (key for key in graph.toposorted_asset_keys if key in keys)
    return [AssetPartition(job.name, key.path[-1], iteration * graph.get(key).is_partitioned) for key in order]


def _look(
    job: dg.JobDefinition, instance: dg.DagsterInstance, store: DryStore, keys: Sequence[dg.AssetKey], iteration: int
) -> None:
    add_iterations(instance, job.name, iteration)
    if iteration > FIRST:  # as a run does
        store.announce(job.name, iteration, store.current(job.name, "improved_policy", iteration - 1))
    result = job.execute_in_process(
        instance=instance,
        partition_key=str(iteration),
        asset_selection=keys,
        run_config=SILENT,
        raise_on_error=False,
    )
    faults = [] if was_decided(result) else list(failures(result))
    if faults := [line for line in faults if f"{WouldBeMade.__name__}:" not in line]:
        for line in faults:
            typer.secho(line, fg="red", err=True)
        raise typer.Exit(1)


def _of(store: DryStore, place: AssetPartition) -> Outlook:
    try:
        head = ArtifactStore.head(store, place.experiment, place.asset, place.iteration)
        seconds = store.read(store.root / head.place).manifest.seconds
    except ArtifactError:
        seconds = None
    origin = store.origins.get(place)
    outcome: Literal["found", "adopted", "made", "follows"] = "follows"
    if place in store.found:
        outcome = "adopted" if origin else "found"
    elif place in store.missing:
        outcome = "made"
    return Outlook(place.asset, place.iteration, outcome, origin, seconds)


def _artifacts(store: DryStore) -> ArtifactsResource:
    """A resource that is this very store."""
    in_use = store

    class DryArtifacts(ArtifactsResource):
        def store(self) -> ArtifactStore:
            return in_use

    return DryArtifacts()
