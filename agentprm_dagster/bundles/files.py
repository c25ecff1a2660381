"""Copying files into a bundle, and hashing what lies in one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from upath import UPath

from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.record import BUNDLE, MOST_FILES, Bundle
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.contents import differences

WORDS = {"changed": "was changed", "missing": "is missing", "extra": "was added", "unreadable": "cannot be read"}


def copy_files(artifact: Artifact, folder: Path) -> None:
    """Puts an artifact's files into a new folder, without its manifest."""
    for entry in artifact.manifest.files:
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / entry.path, target)


def open_to_all(folder: Path) -> None:
    """Lets everybody read a folder and what is in it, whatever this process otherwise writes for whom."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def require_plain_files(folder: Path) -> None:
    """BundleError where a folder holds what no bundle does: links, pipes and devices, or too much."""
    paths = list(_bounded(folder))
    if unfit := [path for path in paths if path.is_symlink() or not (path.is_file() or path.is_dir())]:
        named = ", ".join(path.relative_to(folder).as_posix() for path in unfit[:10])
        raise BundleError(f"{folder}: expected plain files and folders, got a link or a device: {named}")


def _bounded(folder: Path) -> Iterator[Path]:
    for count, path in enumerate(folder.rglob("*")):
        if count > MOST_FILES:
            raise BundleError(f"{folder}: expected at most {MOST_FILES} files, got more")
        yield path


def check_files(folder: Path, record: Bundle) -> Check:
    """Every file's SHA-256 against the record."""
    found = tuple(f"{path} {WORDS[kind]}" for kind, path in differences(UPath(folder), record.files, record=BUNDLE))
    size = sum(entry.bytes for entry in record.files)
    return Check("files", f"{len(record.files)} files, {size / 1e6:.1f} MB", found)
