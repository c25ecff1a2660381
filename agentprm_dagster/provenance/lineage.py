"""What made this, and what was made from this: answered from manifests alone, by digest.

Neither "latest" nor a date enters: an artifact's inputs are the digests its manifest names, so redoing iterations, in
any order and in any number of experiments, cannot change an answer already given.

Experiments share what they make from the same recipe: the same digest under several names is the same thing. What was
made from it under any of its names was made from it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.manifest import GAMES_DIGEST, AssetPartition, Manifest, Version
from agentprm_dagster.provenance.store import ArtifactStore

Direction = Literal["upstream", "downstream"]
"""Upstream: what made it. Downstream: what was made from it."""


@dataclass(frozen=True, slots=True)
class Node:
    """An artifact in a lineage tree."""

    version: Version
    roles: tuple[str, ...]
    """What it was read as by its parent (upstream), or what its parent was read as by it (downstream)."""
    artifact: Artifact | None
    """None where it is not in the store, or its manifest cannot be read."""
    repeated: bool
    """It has been in the tree before, where its children are shown."""
    children: tuple["Node", ...]

    @property
    def made(self) -> Manifest | None:
        """Its manifest, if there is one."""
        return self.artifact.manifest if self.artifact else None

    def walk(self) -> Iterator["Node"]:
        """The node and everything under it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain JSON values."""
        return {
            "experiment": self.version.experiment,
            "asset": self.version.asset,
            "iteration": self.version.iteration,
            "digest": self.version.digest,
            "roles": list(self.roles),
            "found": self.artifact is not None,
            "repeated": self.repeated,
            "path": self.artifact.uri if self.artifact else None,
            **_told(self.made),
            "children": [child.to_dict() for child in self.children],
        }


def _told(made: Manifest | None) -> dict[str, Any]:
    """What a manifest says of who made it, when and how; None for all of it without one."""
    return {
        "code": asdict(made.code) if made else None,
        "adopted": asdict(made.adopted) if made and made.adopted else None,
        "reproducible": made and made.reproducible,
        "started": made and made.started,
        "seconds": made and made.seconds,
        "games_digest": made and made.config.get(GAMES_DIGEST),
        "dagster_run_id": made and made.dagster_run_id,
        "mlflow_run_id": made and made.mlflow_run_id,
        "metrics": made and made.metrics,
    }


@dataclass(frozen=True, slots=True)
class Lineage:
    """The answer to a question about one artifact."""

    direction: Direction
    root: Node
    unread: tuple[str, ...] = ()
    """Places in the store that were looked at and could not be read; what was made there may be missing."""

    def versions(self) -> list[Version]:
        """All artifacts in it, the one asked about first, each once."""
        return list(self.nodes())

    def nodes(self) -> dict[Version, Node]:
        """All artifacts in it by version, the one asked about first, each where it was met first."""
        nodes: dict[Version, Node] = {}
        for node in self.root.walk():
            nodes.setdefault(node.version, node)
        return nodes

    def commit(self) -> str | None:
        """The commit that made all of them, in words; None where they are of several, or one says none."""
        said = {made.code.in_words for node in self.root.walk() if (made := node.made)}
        return said.pop() if len(said) == 1 else None

    def edges(self) -> list[tuple[Version, Version]]:
        """(read, made) pairs, each once."""
        pairs = ((node.version, child.version) for node in self.root.walk() for child in node.children)
        return list(dict.fromkeys((b, a) if self.direction == "upstream" else (a, b) for a, b in pairs))

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain JSON values."""
        return {"direction": self.direction, "root": self.root.to_dict(), "unread": list(self.unread)}


class LineageGraph:
    """Who read whom, among all artifacts given."""

    def __init__(self, artifacts: Iterable[Artifact]) -> None:
        self._known: dict[Version, Artifact] = {}
        self._inputs: dict[Version, dict[Version, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._readers: dict[str, dict[Version, list[str]]] = defaultdict(lambda: defaultdict(list))
        """By the digest that was read, under whatever name."""
        for artifact in artifacts:
            self._known[artifact.version] = artifact
            for read in artifact.manifest.inputs:
                self._inputs[artifact.version][read.version].append(read.role)
                self._readers[read.digest][artifact.version].append(read.role)

    def versions(self) -> list[Version]:
        """All artifacts that are in the store, or were read by one that is; sorted."""
        return sorted(self._known.keys() | {read for links in self._inputs.values() for read in links})

    def tree(self, version: Version, direction: Direction) -> Lineage:
        """The lineage of one artifact; an artifact met again is marked as repeated, without its children."""
        return Lineage(direction, self._node(version, (), direction, set()))

    def reach(self, version: Version, direction: Direction) -> list[Version]:
        """Everything on one side of an artifact, itself left out, sorted."""
        reached: set[Version] = set()
        waiting = [version]
        while waiting:
            new = self._links(waiting.pop(), direction).keys() - reached
            reached |= new
            waiting.extend(new)
        return sorted(reached)

    def _links(self, version: Version, direction: Direction) -> Mapping[Version, list[str]]:
        """What it read, or who read it under any of its names; each with the roles."""
        if direction == "upstream":
            return self._inputs.get(version, {})
        return self._readers.get(version.digest, {})

    def _node(self, version: Version, roles: tuple[str, ...], direction: Direction, seen: set[Version]) -> Node:
        repeated = version in seen
        seen.add(version)
        links = {} if repeated else self._links(version, direction)
        children = tuple(self._node(other, tuple(links[other]), direction, seen) for other in sorted(links))
        return Node(version, roles, self._known.get(version), repeated, children)


def lineage(
    store: ArtifactStore,
    experiment: str,
    asset: str,
    iteration: int,
    digest: str | None = None,
    direction: Direction = "upstream",
) -> Lineage:
    """The lineage of an artifact: of its current version, or of the one whose digest begins with `digest`.

    Upstream nothing but what it was made from is read; downstream everything, for anything may have read it.
    """
    version = find_version(store, AssetPartition(experiment, asset, iteration), digest)
    if direction == "upstream":
        return LineageGraph(with_ancestors(store, version)).tree(version, direction)
    found, unread = [], []
    for place in store.places():
        try:
            found.append(store.read(place))
        except ArtifactError:
            unread.append(place.relative_to(store.root).as_posix())
    return replace(LineageGraph(found).tree(version, direction), unread=tuple(unread))


def with_ancestors(store: ArtifactStore, *versions: Version) -> list[Artifact]:
    """Artifacts and everything they were made from, as far as it is there and can be read; no other is looked at."""
    known: dict[Version, Artifact] = {}
    waiting, met = list(dict.fromkeys(versions)), set(versions)
    while waiting:
        each = waiting.pop()
        with suppress(ArtifactError):  # its place in the answer stays, as not found
            known[each] = store.read(store.root / each.place)
            new = {read.version for read in known[each].manifest.inputs} - met
            met |= new
            waiting.extend(new)
    return list(known.values())


def find_version(store: ArtifactStore, partition: AssetPartition, digest: str | None = None) -> Version:
    """The current version, or the one whose digest begins so; ArtifactError if there is none, or more than one."""
    if digest is None:
        return store.head(partition.experiment, partition.asset, partition.iteration)
    versions = [artifact.version for artifact in store.versions(partition)]
    found = [version for version in versions if version.digest.startswith(digest)]
    if len(found) != 1:
        known = ", ".join(version.digest[:16] for version in versions) or "none"
        raise ArtifactError(
            f"expected one version of {partition} whose digest begins with {digest!r}; there are: {known}"
        )
    return found[0]
