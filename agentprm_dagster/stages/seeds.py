"""The evaluations of other seeds: what was made in the same way, but for the seed and the games that it draws."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import with_ancestors
from agentprm_dagster.provenance.manifest import GAMES_DIGEST, Version
from agentprm_dagster.provenance.reproducible import GPU
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.results import Row
from agentprm_dagster.reports.seeds import SeedRow, over_seeds
from agentprm_dagster.stages.evaluations import current_reports, evaluated, rows_of

_TRAINED = ("initial_policy", "prm", "inverse_prm", "improved_policy")


def of_other_seeds(store: ArtifactStore, experiment: str, reports: Sequence[Artifact]) -> list[Version]:
    """The current evaluations of all other experiments that were made as `reports` were, but for the seed.

    Everything that they were made from had the same settings and the same code. Of several experiments with one seed
    the first by name counts. Only manifests are read; what has none that can be read does not count.
    """
    wanted = {report.manifest.iteration: way(store, report.version) for report in reports}
    seeds = {seed_of(report) for report in reports}
    found: list[Version] = []
    for other in (name for name in sorted(store.experiments()) if name != experiment):
        alike = [
            version
            for version in _current(store, other)
            if version.iteration in wanted and way(store, version) == wanted[version.iteration]
        ]
        if alike and (seed := seed_of(store.read(store.root / alike[0].place))) not in seeds:
            seeds.add(seed)
            found.extend(alike)
    return found


def by_seed(store: ArtifactStore, experiment: str) -> dict[int, str]:
    """An experiment and those that differ from it in their seed alone, by seed."""
    reports = current_reports(store, experiment)
    others = [store.read(store.root / each.place) for each in of_other_seeds(store, experiment, reports)]
    return {seed_of(report): report.version.experiment for report in (*reports, *others)}


def seed_of(report: Artifact) -> int:
    """The seed of the experiment that made it."""
    return report.manifest.seeds["experiment"]


def seed_rows(reports: Iterable[Artifact]) -> list[SeedRow]:
    """What every policy won over the seeds of these evaluations."""
    rows: dict[int, list[Row]] = defaultdict(list)
    for report in reports:
        rows[seed_of(report)].extend(rows_of(report))
    return over_seeds(rows)


def processors(store: ArtifactStore, reports: Iterable[Artifact]) -> list[str]:
    """What the models that were evaluated were trained on: processor and type of products, GPUs, each once."""
    made = with_ancestors(store, *(report.version for report in reports))
    trained = [artifact.manifest.environment for artifact in made if artifact.version.asset in _TRAINED]
    return sorted({where.get(GPU, f"{where['processor']} (products in {where['products']})") for where in trained})


def _current(store: ArtifactStore, experiment: str) -> list[Version]:
    try:
        return [store.head(experiment, "eval_report", i) for i in evaluated(store, experiment).iterations]
    except ArtifactError:  # its own report says what is wrong with it
        return []


def way(store: ArtifactStore, version: Version) -> dict[tuple[str, int], tuple[Any, ...]]:
    """How it and all that it was made from were made: settings and code by asset and iteration, seeds left out.

    What was made in the same way is one thing under several seeds.
    """
    return {
        (made.version.asset, made.version.iteration): (
            dict(_settings(made)),
            made.manifest.code.version,
            made.manifest.code.source,
        )
        for made in with_ancestors(store, version)
    }


def _settings(made: Artifact) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in made.manifest.config.items() if name != GAMES_DIGEST)
