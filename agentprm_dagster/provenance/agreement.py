"""Do the inputs of a stage agree about what they were made from?

Two inputs often share an ancestor: a PRM reads rollouts, and targets that were made from rollouts. Where one of them
was made anew since, they may be made from different versions of the same thing, and what is computed from both would
be of neither. So of every asset and iteration that the inputs or their ancestors name, there must be one version.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import LineageGraph, with_ancestors
from agentprm_dagster.provenance.manifest import AssetPartition, Version
from agentprm_dagster.provenance.store import ArtifactStore


class MixedInputsError(ArtifactError):
    """Inputs that were made from different versions of the same thing."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Several versions of one thing among some artifacts and what they were made from."""

    partition: AssetPartition
    roles: Mapping[Version, tuple[str, ...]]
    """By version: which of the artifacts are it, or were made from it."""

    def __str__(self) -> str:
        versions = sorted(self.roles.items())
        return f"{self.partition}: " + "; ".join(f"{v.digest[:16]} for {', '.join(roles)}" for v, roles in versions)


def find_conflict(store: ArtifactStore, artifacts: Mapping[str, Artifact]) -> Conflict | None:
    """The conflict among artifacts (by role) that others may follow from; None where they agree.

    What a manifest names counts, whether it is still in the store or not.
    """
    graph = LineageGraph(with_ancestors(store, *(artifact.version for artifact in artifacts.values())))
    by_partition: dict[AssetPartition, dict[Version, list[str]]] = defaultdict(lambda: defaultdict(list))
    for role, artifact in artifacts.items():
        for version in (artifact.version, *graph.reach(artifact.version, "upstream")):
            by_partition[version.partition][version].append(role)
    conflicts = [
        Conflict(partition, {version: tuple(roles) for version, roles in versions.items()})
        for partition, versions in by_partition.items()
        if len(versions) > 1
    ]

    def ancestors(conflict: Conflict) -> int:
        return max(len(graph.reach(version, "upstream")) for version in conflict.roles)

    return min(conflicts, key=lambda conflict: (ancestors(conflict), conflict.partition), default=None)
