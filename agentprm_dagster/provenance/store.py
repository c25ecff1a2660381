"""Where artifacts are kept: committed in one step, never overwritten, read by digest.

    <root>/<experiment>/<asset>/<iteration>/<16 digits of the digest>/   the files and manifest.json
    <root>/<experiment>/<asset>/<iteration>/HEAD                         the digest of the current version
    <root>/<experiment>/behaviour_policy/<iteration>/ANNOUNCED           the policies announced; the last one counts
    <root>/.leases                                                       who makes what, in a remote store
    <work>/drafts, locks, copies                                         what is being made, by whom; remote files
    <work>/aside                                                         what was in a new version's way, damaged

A stage writes into a draft. Committing hashes and syncs the files, writes the manifest last, and renames the draft into
its place; a kill at any moment leaves either no version or the whole of it. In a remote store (any URI that
universal_pathlib knows) the files are uploaded first and the manifest last: a version without one does not exist.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from re import fullmatch

from pydantic import ValidationError
from upath import UPath

from agentprm_dagster.provenance.announcements import ROLE, Announcement, Announcements
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.contents import differences
from agentprm_dagster.provenance.draft import Draft
from agentprm_dagster.provenance.durable import make_folder
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.filesystem import warn_once
from agentprm_dagster.provenance.lock import guarded, held_folder
from agentprm_dagster.provenance.manifest import MANIFEST, NAME, AssetPartition, Input, Manifest, Recipe, Version
from agentprm_dagster.provenance.storage import open_storage, work_name

_log = logging.getLogger(__name__)

_RESTORE = "Bring it back from a copy, or remove the folder and materialize it again (`agentprm verify` lists the rest)"


class ArtifactStore:
    """The artifacts under one root: a local folder, or a URI and a local `scratch` folder."""

    def __init__(self, root: str | Path | UPath, scratch: Path | None = None) -> None:
        self._storage = open_storage(root, scratch)
        self.root: UPath = self._storage.root
        self.work: Path = self._storage.work

    # Making

    def find(self, recipe: Recipe) -> Artifact | None:
        """The committed version made from exactly this recipe; None if it has to be made.

        Were several made (a stage that is not deterministic, done twice), the current one, else the first by digest.

        Raises:
            ArtifactError: it is not as it was committed; every byte is checked.
        """
        made = [artifact for artifact in self.versions(recipe.partition) if artifact.manifest.key == recipe.key]
        if not made:
            return None
        head = self._head(recipe.partition)
        return self.resolve(
            min(made, key=lambda artifact: (artifact.digest != head, artifact.digest)).as_input("found")
        )

    def reuse(self, recipe: Recipe, dagster_run_id: str | None = None) -> Artifact | None:
        """`find`, here or else under another experiment's name, and what is found becomes the current version.

        What another experiment has made from this recipe becomes this experiment's own: its metrics, gates, run ids
        and times are those of when it was made, and its manifest says whose it was first, when it was taken over and
        by which run. A local store keeps its bytes once.
        """
        found = self.find(recipe) or self._adopt(recipe, dagster_run_id)
        if found is not None:
            self.select(found)
        return found

    @contextmanager
    def draft(self, recipe: Recipe) -> Iterator[Draft]:
        """A draft to write into and to commit; whatever is not committed is dropped."""
        with held_folder(self.work / "drafts", f"{work_name(recipe.partition)}.") as folder:
            make_folder(folder / "files")
            yield Draft(folder / "files", recipe, self._publish)

    def lock(self, experiment: str, asset: str, iteration: int) -> AbstractContextManager[None]:
        """Makes the caller the only one who makes this; LockedError if another does.

        A remote store may find, before it changes anything within the block, that another machine has taken over, as
        this one was not heard of: LeaseLostError.
        """
        return self._storage.lock(AssetPartition(experiment, asset, iteration))

    def try_out(self) -> bool:
        """Writes a file and removes it; whether locks hold among all machines. OSError and others: it cannot be."""
        return self._storage.try_out()

    # Reading

    def get(self, experiment: str, asset: str, iteration: int, digest: str) -> Artifact:
        """The version of this digest, every byte checked; ArtifactError if it is missing or different."""
        version = Version(experiment, asset, iteration, digest)
        artifact = self.read(self.root / version.place)
        if artifact.version != version:
            raise ArtifactError(f"expected {version} ({digest}) in {artifact.uri}, found {artifact.digest}")
        self._storage.fetch(version.place)
        self._refuse_damage(artifact)
        return artifact

    def resolve(self, made: Input) -> Artifact:
        """`get` for an input."""
        return self.get(made.experiment, made.asset, made.iteration, made.digest)

    def head(self, experiment: str, asset: str, iteration: int) -> Version:
        """The current version: the one last committed, reused or selected; never "the newest by date"."""
        partition = AssetPartition(experiment, asset, iteration)
        digest = self._head(partition)
        if digest is None:
            raise ArtifactError(f"{partition} has no current version in {self.root}: {self._remedy(partition)}")
        try:
            return Version(experiment, asset, iteration, digest)
        except ValidationError as error:
            raise ArtifactError(
                f"{self.root / partition.place / 'HEAD'}: expected a digest, found {digest!r}"
            ) from error

    def has(self, experiment: str, asset: str, iteration: int) -> bool:
        """Whether there is a current version."""
        return self._head(AssetPartition(experiment, asset, iteration)) is not None

    def experiments(self) -> list[str]:
        """The names under which something was made; folders with other names are somebody else's."""
        return [folder.name for folder in folders(self.root) if fullmatch(NAME, folder.name)]

    def heads(self, experiment: str) -> Iterator[Version]:
        """The current version of every asset and iteration of an experiment that has one."""
        for partition in self.partition_folders(experiment):
            if partition.name.isdecimal() and (partition / "HEAD").exists():
                yield self.head(experiment, partition.parent.name, int(partition.name))

    def current(self, experiment: str, asset: str, iteration: int) -> Artifact:
        """`get` for the current version."""
        return self.get(experiment, asset, iteration, self.head(experiment, asset, iteration).digest)

    def settle(self, partition: AssetPartition) -> None:
        """Makes a partition's only version the current one if none is: a process was killed before it could."""
        made = list(self.versions(partition))
        if len(made) == 1 and self._head(partition) is None:
            self.select(made[0])

    def select(self, artifact: Artifact) -> None:
        """Makes a committed version the current one."""
        partition = artifact.version.partition
        with guarded(self.work):
            if self._head(partition) != artifact.digest:
                self._storage.replace(f"{partition.place}/HEAD", artifact.digest + "\n")

    def versions(self, partition: AssetPartition) -> Iterator[Artifact]:
        """All committed versions of one asset and iteration, by digest; one that cannot be read is left out."""
        for place in folders(self.root / partition.place):
            try:
                if (place / MANIFEST).exists():
                    yield self.read(place)
            except ArtifactError as error:
                warn_once(f"{error}. It is left out.")

    def artifacts(self, experiment: str | None = None) -> Iterator[Artifact]:
        """Everything committed, or everything of one experiment, by place."""
        return (self.read(place) for place in self.places(experiment) if (place / MANIFEST).exists())

    def places(self, experiment: str | None = None) -> Iterator[UPath]:
        """Every version's folder, also those without a manifest."""
        return (place for partition in self.partition_folders(experiment) for place in folders(partition))

    def partition_folders(self, experiment: str | None = None) -> Iterator[UPath]:
        """Every folder that holds the versions of one asset and iteration."""
        experiments = folders(self.root) if experiment is None else [self.root / experiment]
        return (partition for folder in experiments for asset in folders(folder) for partition in folders(asset))

    def read(self, place: UPath) -> Artifact:
        """What the manifest in a version's folder says, its digests checked, its files not; else ArtifactError."""
        try:
            manifest = Manifest.from_json((place / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ArtifactError(
                f"no artifact in {place}: expected a {MANIFEST}. Materialize it again, or bring the folder back"
            ) from error
        except (ArtifactError, UnicodeDecodeError, OSError) as error:
            raise ArtifactError(f"{place / MANIFEST}: {error}. {_RESTORE}") from error
        faults = manifest.faults()
        if str(place) != str(self.root / manifest.version.place):
            faults.append("place")
        if faults:
            raise ArtifactError(f"{place / MANIFEST}: wrong {', '.join(faults)}. {_RESTORE}")
        return self._artifact(manifest)

    # The back edge of the loop

    def announce(
        self, experiment: str, iteration: int, policy: Artifact, by: str | None = None, why: str | None = None
    ) -> Input:
        """Makes `policy` the behaviour policy of an iteration; announcing another later is recorded after it.

        `by` is who or what decided it, `why` for which reasons.
        """
        partition = AssetPartition(experiment, ROLE, iteration)
        announced = policy.as_input(ROLE)
        with self._storage.guard(partition):
            so_far = self.announcements(experiment, iteration)
            if not so_far or so_far[-1].policy != announced:
                new = Announcement(announced, datetime.now(UTC).isoformat(timespec="seconds"), by, why)
                self._storage.replace(f"{partition.place}/ANNOUNCED", Announcements((*so_far, new)).to_json())
        return announced

    def announced(self, experiment: str, iteration: int) -> Input:
        """The behaviour policy of an iteration, as an input; ArtifactError if none was announced."""
        announcements = self.announcements(experiment, iteration)
        if not announcements:
            raise ArtifactError(
                f"{AssetPartition(experiment, ROLE, iteration)} was not announced in {self.root}: materialize the "
                "policy first"
            )
        return announcements[-1].policy

    def announced_iterations(self, experiment: str) -> list[int]:
        """The iterations that a policy was announced for."""
        found = folders(self.root / experiment / ROLE)
        return [int(folder.name) for folder in found if folder.name.isdecimal() and (folder / "ANNOUNCED").exists()]

    def announcements(self, experiment: str, iteration: int) -> tuple[Announcement, ...]:
        """Every announcement for an iteration, the first one first."""
        path = self.root / AssetPartition(experiment, ROLE, iteration).place / "ANNOUNCED"
        if not path.exists():
            return ()
        try:
            return Announcements.from_json(path.read_text(encoding="utf-8")).announcements
        except ValueError as error:
            raise ArtifactError(f"{path}: {error}. {_RESTORE}") from error

    # Inside

    def _adopt(self, recipe: Recipe, dagster_run_id: str | None) -> Artifact | None:
        for other in folders(self.root):
            if not fullmatch(NAME, other.name):
                continue  # whatever else somebody keeps here
            with suppress(ArtifactError):  # another's damage is for its own runs, and for verify, to report
                if (made := self.find(replace(recipe, experiment=other.name))) is not None:
                    break
        else:
            return None
        with self.draft(recipe) as draft:
            return draft.adopt(made, dagster_run_id)

    def _publish(self, files: Path, manifest: Manifest) -> Artifact:
        while not self._storage.publish(files, manifest):
            if (made := self._whole(manifest.version)) is not None:
                break
            self._storage.set_aside(manifest.version.place)
        else:
            made = self._artifact(manifest)
        self.select(made)
        return made

    def _whole(self, version: Version) -> Artifact | None:
        """`get`; None where what is in its place is damaged, which is warned of."""
        try:
            return self.get(version.experiment, version.asset, version.iteration, version.digest)
        except ArtifactError as error:
            _log.warning("%s. It is set aside: the same was made anew", error)
            return None

    def _artifact(self, manifest: Manifest) -> Artifact:
        place = manifest.version.place
        return Artifact(manifest, self._storage.local(place), str(self.root / place))

    def _head(self, partition: AssetPartition) -> str | None:
        path = self.root / partition.place / "HEAD"
        return path.read_text(encoding="ascii", errors="replace").strip() if path.exists() else None

    def _remedy(self, partition: AssetPartition) -> str:
        others = [place.name for place in folders((self.root / partition.place).parent) if (place / "HEAD").exists()]
        if not others:
            return "materialize it first"
        return f"its iterations are: {', '.join(others)}. Choose one with -i, or materialize more"

    def _refuse_damage(self, artifact: Artifact) -> None:
        folder = UPath(artifact.path)
        damage = [f"{kind} {name}" for kind, name in differences(folder, artifact.manifest.files)]
        if damage:
            raise ArtifactError(f"{folder} is not as it was committed: {', '.join(damage[:5])}. {_RESTORE}")


def folders(folder: UPath) -> list[UPath]:
    """The folders in a folder, iterations in their order; hidden ones (the store's own) left out.

    Raises:
        ArtifactError: the folder cannot be looked into.
    """
    try:
        if not folder.is_dir():
            return []
        found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        raise ArtifactError(f"{folder}: expected a folder that can be read, but: {error.strerror}") from error
    return sorted(found, key=lambda path: (int(path.name) if path.name.isdecimal() else 0, path.name))
