"""Is everything still as it was committed? Re-hashes every file and names what was made from what is not."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from agentprm_dagster.provenance.announcements import Announcements
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.contents import differences
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import LineageGraph
from agentprm_dagster.provenance.lock import guarded, read_owner
from agentprm_dagster.provenance.manifest import MANIFEST, Version
from agentprm_dagster.provenance.store import ArtifactStore

ProblemKind = Literal["changed", "missing", "extra", "manifest", "incomplete", "input", "pointer"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as it was committed."""

    place: str
    """The version, or the pointer, relative to the store's root."""
    kind: ProblemKind
    """A file changed, missing or extra; a manifest not as it was written; a version's folder without a manifest; a
    version that others were made from and that is not there; a pointer to a version that is not there."""
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
    problems.extend(_pointers(store, known))
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


def _pointers(store: ArtifactStore, known: set[str]) -> Iterator[Problem]:
    """HEAD and ANNOUNCED files that name what is not there."""
    for folder in store.slot_folders():
        for name, target in _targets(store, folder):
            if target not in known:
                yield Problem(
                    f"{_relative(store, folder)}/{name}", "pointer", f"names {target}, which is not there", ()
                )


def _targets(store: ArtifactStore, folder: UPath) -> Iterator[tuple[str, str]]:
    """The pointers in an iteration's folder and the places they name."""
    if (folder / "HEAD").exists():
        yield (
            "HEAD",
            f"{_relative(store, folder)}/{(folder / 'HEAD').read_text(encoding='ascii', errors='replace')[:16]}",
        )
    if (folder / "ANNOUNCED").exists():
        try:
            record = Announcements.from_json((folder / "ANNOUNCED").read_text(encoding="utf-8"))
        except ValueError:
            yield "ANNOUNCED", "a policy by a record that was changed"
            return
        for announcement in record.announcements:
            yield "ANNOUNCED", announcement.policy.version.place


def _made_from(graph: LineageGraph, place: str) -> tuple[Version, ...]:
    here = [version for version in graph.versions() if version.place == place]
    return tuple(sorted({made for version in here for made in graph.reach(version, "downstream")}))


def _relative(store: ArtifactStore, path: UPath) -> str:
    return path.relative_to(store.root).as_posix()
