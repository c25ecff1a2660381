"""Is everything still as it was committed? Re-hashes every file and names what was made from what is not.

Others may commit, select, announce, adopt and sweep meanwhile: nothing is locked and nothing written. What seems wrong
is looked at once more where it lies, after asking whether somebody is at work there, before it is called a problem.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from re import fullmatch
from typing import Any, Literal

from upath import UPath

from agentprm_dagster.provenance.announcements import ROLE, Announcements
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.contents import differences
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import LineageGraph
from agentprm_dagster.provenance.links import linked_outside
from agentprm_dagster.provenance.lock import is_held, owner_file, sweep_file, sweep_folders
from agentprm_dagster.provenance.manifest import AssetPartition, Version
from agentprm_dagster.provenance.store import ArtifactStore, folders

ProblemKind = Literal["changed", "missing", "extra", "link", "unreadable", "manifest", "incomplete", "input", "pointer"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as it was committed."""

    place: str
    """The version, the pointer or the folder, relative to the store's root."""
    kind: ProblemKind
    """A file changed, missing, extra or, like a folder, a link to elsewhere; what cannot be read; a manifest not as it
    was written; a version's folder without a manifest; a version that others were made from and that is not there; a
    pointer that is gone, or names what is not there."""
    detail: str
    downstream: tuple[Version, ...]
    """Everything that was made from it, directly or not."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found."""

    checked: int
    """Versions looked at."""
    problems: tuple[Problem, ...]
    leftovers: tuple[str, ...]
    """Drafts and locks of killed processes: harmless, and `sweep` removes them."""
    reproducible: dict[str, int]
    """How many of those that can be read can be made again, by how far."""

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def verify(store: ArtifactStore) -> Verification:
    """Reads and hashes everything in the store; changes nothing and needs no right but to read."""
    tree = _Tree(store)
    readable = tree.read()
    graph = LineageGraph(readable)
    known = {artifact.version for artifact in readable}
    left, unreadable = _leftovers(store.work)
    found = [
        *tree.problems,
        *_changed_files(store, readable),
        *_linked_outside(store),
        *_missing_inputs(store, graph, {version.place for version in known} | {p.place for p in tree.problems}),
        *_pointers(store, tree.partitions, {(version.partition.place, version.digest) for version in known}),
        *_unannounced(store, readable),
        *unreadable,
    ]
    problems = tuple(replace(problem, downstream=_made_from(graph, problem.place)) for problem in found)
    words = Counter(made.manifest.reproducible or "not recorded" for made in readable)
    return Verification(len(tree.places), problems, tuple(map(str, left)), dict(sorted(words.items())))


def sweep(store: ArtifactStore) -> list[Path]:
    """Removes the drafts and locks that killed processes left, and ends the commits that they had all but done.

    Answers what it removed. What cannot be removed is warned of.
    """
    for folder in _leftovers(store.work)[0]:
        if partition := _partition_of(folder):
            with suppress(ArtifactError):  # damage there is for `verify` to tell
                store.settle(partition)
    drafts = sweep_folders(store.work / "drafts")
    return [*drafts, *filter(sweep_file, _locks(store.work))]


class _Tree:
    """The store's folders, with what is wrong with them."""

    def __init__(self, store: ArtifactStore) -> None:
        self.problems: list[Problem] = []
        self._store = store
        assets = [asset for experiment in self._inside(store.root) for asset in self._inside(experiment)]
        self.partitions = [partition for asset in assets for partition in self._inside(asset)]
        self.places = [place for partition in self.partitions for place in self._inside(partition)]

    def read(self) -> list[Artifact]:
        """Every version that can be read."""
        return [artifact for place in self.places if (artifact := self._read(place)) is not None]

    def _inside(self, folder: UPath) -> list[UPath]:
        try:
            found = folders(folder)
        except ArtifactError as error:
            self._add(folder, "unreadable", str(error))
            return []
        for link in (path for path in found if path.is_symlink()):
            self._add(link, "link", "is a link to elsewhere, where what it holds can be changed: move the files here")
        return found

    def _read(self, place: UPath) -> Artifact | None:
        with suppress(ArtifactError):
            return self._store.read(place)
        being_made = _being_made(self._store, place.parent)  # a remote store's version while it is uploaded
        try:
            return self._store.read(place)
        except ArtifactError as error:
            kind = _kind(error)
            if not (being_made and kind == "incomplete"):
                self._add(place, kind, str(error))
            return None

    def _add(self, path: UPath, kind: ProblemKind, detail: str) -> None:
        self.problems.append(Problem(_relative(self._store, path), kind, detail, ()))


def _kind(error: ArtifactError) -> ProblemKind:
    """What is wrong with a version whose manifest was not read."""
    if isinstance(error.__cause__, FileNotFoundError):
        return "incomplete"
    return "unreadable" if isinstance(error.__cause__, OSError) else "manifest"


def _being_made(store: ArtifactStore, partition: UPath) -> bool:
    """Whether a draft of a partition is there, of a living process or of a dead one that `sweep` comes after.

    What a draft does to the store in several steps is done before the draft is gone.
    """
    name = _relative(store, partition).replace("/", ".")
    return any(True for _ in (store.work / "drafts").glob(f"{name}.*"))


def _partition_of(draft: Path) -> AssetPartition | None:
    """The partition that a draft's name begins with."""
    experiment, *rest = draft.name.split(".")
    return AssetPartition(experiment, rest[0], int(rest[1])) if len(rest) == 3 and rest[1].isdecimal() else None


def _leftovers(work: Path) -> tuple[list[Path], list[Problem]]:
    """The drafts and locks whose owners are dead, and those of which that cannot be said."""
    left, problems = [], []
    drafts = sorted(path for path in (work / "drafts").glob("*") if path.is_dir())
    for path, lock in [*((draft, owner_file(draft)) for draft in drafts), *((lock, lock) for lock in _locks(work))]:
        try:
            if not is_held(lock) and path.exists():
                left.append(path)
        except OSError as error:
            problems.append(Problem(path.relative_to(work.parent).as_posix(), "unreadable", str(error), ()))
    return left, problems


def _locks(work: Path) -> list[Path]:
    """The lock files that name somebody; one without a word is being taken, and in nobody's way."""
    return sorted(path for path in (work / "locks").glob("*.lock") if _has_content(path))


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:  # gone meanwhile, or a link to nowhere
        return False


def _changed_files(store: ArtifactStore, artifacts: list[Artifact]) -> Iterator[Problem]:
    for artifact in artifacts:
        place = artifact.version.place
        for kind, path in differences(store.root / place, artifact.manifest.files):
            yield Problem(place, kind, path, ())


def _linked_outside(store: ArtifactStore) -> Iterator[Problem]:
    """Files of versions that have a name outside the store."""
    root = store.work.parent
    if str(store.root) != str(root):
        return  # remote
    for path in linked_outside(root, store.work / "drafts"):
        parts = path.relative_to(root).parts
        if not parts[0].startswith("."):
            name = "/".join(parts[4:])
            yield Problem(
                "/".join(parts[:4]), "link", f"{name} has another name outside, through which it can change", ()
            )


def _missing_inputs(store: ArtifactStore, graph: LineageGraph, known: set[str]) -> Iterator[Problem]:
    for version in graph.versions():
        if version.place not in known and not _holds(store, version.partition.place, version.digest):
            yield Problem(version.place, "input", f"{version} was read and is not in the store", ())


def _pointers(store: ArtifactStore, partitions: list[UPath], known: set[tuple[str, str]]) -> Iterator[Problem]:
    """HEAD and ANNOUNCED files that are links, name what is not there or cannot be read, and HEADs that are gone."""
    with_versions = {place for place, _ in known}
    for folder in partitions:
        partition = _relative(store, folder)
        try:
            for name, place, digest in _targets(store, folder):
                if (folder / name).is_symlink():
                    yield Problem(f"{partition}/{name}", "link", "is a link to elsewhere, where it can be changed", ())
                if (place, digest) not in known and not _holds(store, place, digest):
                    yield Problem(
                        f"{partition}/{name}", "pointer", f"names {place}/{digest[:16]}, which is not there", ()
                    )
            if partition in with_versions and not _being_made(store, folder) and not (folder / "HEAD").exists():
                yield Problem(
                    f"{partition}/HEAD", "pointer", "is gone: nothing says which version is the current one", ()
                )
        except OSError as error:
            yield Problem(partition, "unreadable", f"its pointers cannot be read: {error}", ())


def _holds(store: ArtifactStore, place: str, digest: str) -> bool:
    """Whether a version can be read at this moment."""
    if not fullmatch("[0-9a-f]{64}", digest):
        return False
    try:
        return store.read(store.root / place / digest[:16]).digest == digest
    except ArtifactError:
        return False


def _targets(store: ArtifactStore, folder: UPath) -> Iterator[tuple[str, str, str]]:
    """The pointers in an iteration's folder, each with the place and the digest that it names."""
    if (folder / "HEAD").exists():
        digest = (folder / "HEAD").read_text(encoding="ascii", errors="replace").strip()
        yield "HEAD", _relative(store, folder), digest
    if (folder / "ANNOUNCED").exists():
        try:
            record = Announcements.from_json((folder / "ANNOUNCED").read_text(encoding="utf-8"))
        except ValueError:
            yield "ANNOUNCED", "a policy", "by a record that was changed"
            return
        for announcement in record.announcements:
            policy = announcement.policy.version
            yield "ANNOUNCED", policy.partition.place, policy.digest


def _unannounced(store: ArtifactStore, artifacts: list[Artifact]) -> Iterator[Problem]:
    """Announcements that are gone, though a policy was read that must have been announced."""
    readers = (made.manifest for made in artifacts if any(read.role == ROLE for read in made.manifest.inputs))
    for partition in sorted({AssetPartition(reader.experiment, ROLE, reader.iteration) for reader in readers}):
        if not (store.root / partition.place / "ANNOUNCED").exists():
            yield Problem(f"{partition.place}/ANNOUNCED", "pointer", "is gone, though its policy was read", ())


def _made_from(graph: LineageGraph, place: str) -> tuple[Version, ...]:
    here = [version for version in graph.versions() if version.place == place]
    return tuple(sorted({made for version in here for made in graph.reach(version, "downstream")}))


def _relative(store: ArtifactStore, path: UPath) -> str:
    return path.relative_to(store.root).as_posix()
