"""What differs between a store on this machine's disk and one behind a URI."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from upath import UPath

from agentprm_dagster.provenance.durable import make_folder, replace_text, sync, sync_tree
from agentprm_dagster.provenance.lock import guarded
from agentprm_dagster.provenance.manifest import MANIFEST, Manifest


class Storage(Protocol):
    """Keeps versions: folders of files with a manifest."""

    @property
    def root(self) -> UPath:
        """The store's own folder."""

    @property
    def work(self) -> Path:
        """Local folder for drafts, locks and copies."""

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
    """An object store; the commit is the manifest's upload. Locks hold among the processes of one machine."""

    def __init__(self, root: UPath, work: Path) -> None:
        self.root = root
        self.work = work

    def publish(self, files: Path, manifest: Manifest) -> bool:
        """Uploads the files, then the manifest."""
        target = self.root / manifest.version.place
        if (target / MANIFEST).exists():
            return False
        for entry in manifest.files:
            _write(target / entry.path, (files / entry.path).read_bytes())
        _write(target / MANIFEST, manifest.to_json().encode())
        return True

    def set_aside(self, place: str) -> None:
        """Removes it: an object store renames nothing in one step."""
        target = self.root / place
        if target.exists():
            target.fs.rm(target.path, recursive=True)
        shutil.rmtree(self.local(place), ignore_errors=True)

    def replace(self, place: str, text: str) -> None:
        """One upload: object stores show the old or the new."""
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
                    target.write_bytes(path.read_bytes())
            part.rename(copy)


def _write(path: UPath, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _make_read_only(folder: Path) -> None:
    """For this user alone, too."""
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o400)
