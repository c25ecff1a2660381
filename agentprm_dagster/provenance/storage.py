"""What differs between a store on this machine's disk and one behind a URI."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol
from uuid import uuid4

from upath import UPath

from agentprm_dagster.provenance.durable import make_folder, replace_text, sync, sync_tree
from agentprm_dagster.provenance.filesystem import NoLocksError, flock, warn_once
from agentprm_dagster.provenance.lease import Lease, creates_for_one, take
from agentprm_dagster.provenance.lock import guarded, locked
from agentprm_dagster.provenance.manifest import MANIFEST, AssetPartition, Manifest


class Storage(Protocol):
    """Keeps versions: folders of files with a manifest."""

    @property
    def root(self) -> UPath:
        """The store's own folder."""

    @property
    def work(self) -> Path:
        """Local folder for drafts, locks and copies."""

    def try_out(self) -> bool:
        """Writes a file and removes it; whether locks hold among all machines. OSError and others: it cannot be."""

    def lock(self, partition: AssetPartition) -> AbstractContextManager[None]:
        """For hours: makes the caller the only one who makes this; LockedError if another does."""

    def guard(self, partition: AssetPartition) -> AbstractContextManager[None]:
        """For moments: makes the caller the only one who changes what is said of this; others wait."""

    def publish(self, files: Path, manifest: Manifest) -> bool:
        """Makes the files a version; False, and the store as it was, where something is in its place already."""

    def set_aside(self, place: str) -> None:
        """Moves what is in a version's place out of the way."""

    def replace(self, place: str, text: str) -> None:
        """Writes a small file in one step."""

    def local(self, place: str) -> Path:
        """Where a version's files can be read once `fetch` was called."""

    def fetch(self, place: str) -> None:
        """Sees to it that a version's files can be read at `local`."""


def open_storage(root: str | Path | UPath, scratch: Path | None) -> Storage:
    """The storage at `root`; one that is not a local folder needs a local `scratch` folder beside it."""
    where = UPath(root)
    if where.protocol in ("", "file", "local"):
        return LocalStorage(Path(where.path).absolute())
    if scratch is None:
        raise ValueError(f"{where} is not a local folder: say in `scratch` where drafts, locks and copies can be kept")
    return RemoteStorage(where, scratch)


class LocalStorage:
    """A folder; the commit is a rename."""

    def __init__(self, root: Path) -> None:
        self.root = UPath(root)
        self._folder = root
        self.work = root / ".work"
        """On the versions' own filesystem, or a rename would not be one step."""

    def try_out(self) -> bool:
        """In the folder, or the one above that is there; nothing is made that stays."""
        above = next(folder for folder in (self._folder, *self._folder.parents) if folder.exists())
        with TemporaryFile(dir=above) as file:
            try:
                return flock(file)
            except NoLocksError:
                return False

    def lock(self, partition: AssetPartition) -> AbstractContextManager[None]:
        """A file that the kernel keeps locked."""
        return _locked_here(self.work, partition)

    def guard(self, partition: AssetPartition) -> AbstractContextManager[None]:
        """One for the whole store."""
        return guarded(self.work)

    def publish(self, files: Path, manifest: Manifest) -> bool:
        """Syncs everything, the manifest written last, and renames the folder into its place."""
        target = self._folder / manifest.version.place
        make_folder(target.parent)
        if not (files / MANIFEST).exists():
            (files / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        sync_tree(files)
        _make_read_only(files)
        try:
            files.rename(target)
        except OSError:
            if not os.path.lexists(target):
                raise
            return False
        sync(target.parent)
        return True

    def set_aside(self, place: str) -> None:
        """Keeps it under `work`, for whoever wants to know what became of it."""
        aside = self.work / "aside" / f"{place.replace('/', '.')}.{uuid4().hex[:8]}"
        make_folder(aside.parent)
        with suppress(FileNotFoundError):
            (self._folder / place).rename(aside)

    def replace(self, place: str, text: str) -> None:
        """Writes beside it and renames over it."""
        replace_text(self._folder / place, text)

    def local(self, place: str) -> Path:
        """The version itself."""
        return self._folder / place

    def fetch(self, place: str) -> None:
        """Nothing to do."""


class RemoteStorage:
    """An object store; the commit is the manifest's upload.

    Locks hold across machines by leases (provenance/lease.py) where the filesystem can create a file for one process
    alone, as those of S3, Google Cloud Storage and Azure can; elsewhere among the processes of one machine.
    """

    def __init__(self, root: UPath, work: Path) -> None:
        self.root = root
        self.work = work
        self._leases: dict[str, Lease] = {}
        """Those that are held, by the partition's place: what is written there needs them."""
        root.fs.invalidate_cache()  # what other machines have written since this process listed a folder

    def try_out(self) -> bool:
        """In the store itself."""
        return creates_for_one(self.root)

    @contextmanager
    def lock(self, partition: AssetPartition) -> Iterator[None]:
        """A lease; the lock before it answers at once on one machine."""
        with _locked_here(self.work, partition), self._leased(partition):
            yield

    @contextmanager
    def guard(self, partition: AssetPartition) -> Iterator[None]:
        """A lease that is released in a moment; LockedError where that takes longer than a lease is renewed."""
        with self._leased(partition), guarded(self.work):
            yield

    def publish(self, files: Path, manifest: Manifest) -> bool:
        """Uploads the files, then the manifest, unless another has taken over what this process had locked.

        The files themselves become the local copy.
        """
        target = self.root / manifest.version.place
        if (target / MANIFEST).exists():
            return False
        self._require(manifest.version.place)  # so that hardly ever files are left without a manifest
        for entry in manifest.files:
            place = target / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.fs.put_file(str(files / entry.path), place.path)
        self._require(manifest.version.place)
        _write(target / MANIFEST, manifest.to_json().encode())
        copy = self.local(manifest.version.place)
        with guarded(self.work / "copies"):
            if not copy.is_dir():
                make_folder(copy.parent)
                files.rename(copy)
        return True

    def set_aside(self, place: str) -> None:
        """Removes it: an object store renames nothing in one step."""
        self._require(place)
        target = self.root / place
        if target.exists():
            target.fs.rm(target.path, recursive=True)
        shutil.rmtree(self.local(place), ignore_errors=True)

    def replace(self, place: str, text: str) -> None:
        """One upload: object stores show the old or the new."""
        self._require(place)
        _write(self.root / place, text.encode())

    def local(self, place: str) -> Path:
        """The local copy."""
        return self.work / "copies" / place

    def fetch(self, place: str) -> None:
        """Downloads what is not here yet, in one step; one download at a time."""
        copy, source = self.local(place), self.root / place
        with guarded(self.work / "copies"):
            if copy.is_dir():
                return
            part = copy.with_name(f"{copy.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            for path in source.rglob("*"):
                if path.is_file():
                    target = part / path.relative_to(source).as_posix()
                    make_folder(target.parent)
                    source.fs.get_file(path.path, str(target))
            part.rename(copy)

    @contextmanager
    def _leased(self, partition: AssetPartition) -> Iterator[None]:
        if not self.try_out():
            warn_once(
                f"{self.root}: the filesystem creates no file for one process alone, so that locks hold among the "
                "processes of this machine only: make each artifact from one machine at a time"
            )
            yield
            return
        with take(self.root, work_name(partition), str(partition)) as lease:
            self.root.fs.invalidate_cache()
            self._leases[partition.place] = lease
            try:
                yield
            finally:
                del self._leases[partition.place]

    def _require(self, place: str) -> None:
        """LeaseLostError where another has taken over the partition of a place, a version's or a pointer's."""
        if lease := self._leases.get(place.rpartition("/")[0]):
            lease.require()


def work_name(partition: AssetPartition) -> str:
    """What a partition is called among locks, leases and drafts; no part of it holds a dot."""
    return f"{partition.experiment}.{partition.asset}.{partition.iteration}"


def _locked_here(work: Path, partition: AssetPartition) -> AbstractContextManager[None]:
    """A lock among the processes that share a work folder."""
    return locked(work / "locks" / f"{work_name(partition)}.lock", str(partition))


def _write(path: UPath, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _make_read_only(folder: Path) -> None:
    """For this user alone, too."""
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o400)
