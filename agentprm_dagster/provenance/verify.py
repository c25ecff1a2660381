"""Is everything still as it was committed? Re-hashes every file and names what was made from what is not."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from agentprm_dagster.provenance.announcements import ROLE, Announcements
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.contents import differences
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import LineageGraph
from agentprm_dagster.provenance.lock import guarded, read_owner
from agentprm_dagster.provenance.manifest import MANIFEST, Slot, Version
from agentprm_dagster.provenance.store import ArtifactStore

ProblemKind = Literal["changed", "missing", "extra", "manifest", "incomplete", "input", "pointer"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as it was committed."""

    place: str
    """The version, or the pointer, relative to the store's root."""
    kind: ProblemKind
    """A file changed, missing or extra; a manifest not as it was written; a version's folder without a manifest; a
    version that others were made from and that is not there; a pointer that is gone, or names what is not there."""
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

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def verify(store: ArtifactStore) -> Verification:
    """Reads and hashes everything in the store; changes nothing."""
    readable: list[Artifact] = []
    broken: list[Problem] = []
    for place in store.places():
        try:
            readable.append(store.read(place))
        except ArtifactError as error:
            kind: ProblemKind = "manifest" if (place / MANIFEST).exists() else "incomplete"
            broken.append(Problem(_relative(store, place), kind, str(error), ()))
    graph = LineageGraph(readable)
    known = {artifact.version.place for artifact in readable}
    found = [*broken, *_changed_files(store, readable), *_missing_inputs(graph, known | {p.place for p in broken})]
    problems = [Problem(p.place, p.kind, p.detail, _made_from(graph, p.place)) for p in found]
    problems.extend(_pointers(store, {artifact.version for artifact in readable}))
    problems.extend(_unannounced(store, readable))
    return Verification(
        len(readable) + len(broken), tuple(problems), tuple(str(path) for path in leftovers(store.work))
    )


def sweep(store: ArtifactStore) -> list[Path]:
    """Removes the drafts and locks that killed processes left; answers what it removed."""
    with _still(store.work):
        found = _leftovers(store.work)
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return found


def leftovers(work: Path) -> list[Path]:
    """The drafts and locks whose owners are dead."""
    if not work.exists():
        return []
    with _still(work):
        return _leftovers(work)


def _leftovers(work: Path) -> list[Path]:
    drafts = [folder for folder in sorted((work / "drafts").iterdir()) if folder.is_dir() and _dead(folder / "owner")]
    return [*drafts, *(path for path in sorted((work / "locks").glob("*.lock")) if _dead(path))]


@contextmanager
def _still(work: Path) -> Iterator[None]:
    """No process of this machine begins a draft or takes a lock meanwhile."""
    with guarded(work / "drafts"), guarded(work / "locks"):
        yield


def _dead(owner_file: Path) -> bool:
    owner = read_owner(owner_file)
    return owner is None or owner.state() == "dead"


def _changed_files(store: ArtifactStore, artifacts: list[Artifact]) -> Iterator[Problem]:
    for artifact in artifacts:
        place = artifact.version.place
        for kind, path in differences(store.root / place, artifact.manifest.files):
            yield Problem(place, kind, path, ())


def _missing_inputs(graph: LineageGraph, there: set[str]) -> Iterator[Problem]:
    for version in graph.versions():
        if version.place not in there:
            yield Problem(version.place, "input", f"{version} was read and is not in the store", ())


def _pointers(store: ArtifactStore, known: set[Version]) -> Iterator[Problem]:
    """HEAD and ANNOUNCED files that name what is not there, and HEADs that are gone."""
    there = {(version.slot.place, version.digest) for version in known}
    for folder in store.slot_folders():
        slot = _relative(store, folder)
        for name, place, digest in _targets(store, folder):
            if (place, digest) not in there:
                yield Problem(f"{slot}/{name}", "pointer", f"names {place}/{digest[:16]}, which is not there", ())
        if not (folder / "HEAD").exists() and any(place == slot for place, _ in there):
            yield Problem(f"{slot}/HEAD", "pointer", "is gone: nothing says which version is the current one", ())


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
            yield "ANNOUNCED", policy.slot.place, policy.digest


def _unannounced(store: ArtifactStore, artifacts: list[Artifact]) -> Iterator[Problem]:
    """Announcements that are gone, though a policy was read that must have been announced."""
    readers = (made.manifest for made in artifacts if any(read.role == ROLE for read in made.manifest.inputs))
    for slot in sorted({Slot(reader.experiment, ROLE, reader.iteration) for reader in readers}):
        if not (store.root / slot.place / "ANNOUNCED").exists():
            yield Problem(f"{slot.place}/ANNOUNCED", "pointer", "is gone, though its policy was read", ())


def _made_from(graph: LineageGraph, place: str) -> tuple[Version, ...]:
    here = [version for version in graph.versions() if version.place == place]
    return tuple(sorted({made for version in here for made in graph.reach(version, "downstream")}))


def _relative(store: ArtifactStore, path: UPath) -> str:
    return path.relative_to(store.root).as_posix()
