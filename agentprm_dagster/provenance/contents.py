"""The files of an artifact: what may be among them, what they are, and how they differ from what was recorded."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from upath import UPath

from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.manifest import MANIFEST, FileEntry

EXECUTABLE_SUFFIXES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
"""Formats that run code when they are loaded (pickle, in one dress or another)."""


class Difference(NamedTuple):
    """A file that is not what the manifest says."""

    kind: Literal["changed", "missing", "extra", "link", "unreadable"]
    """A link names a file elsewhere, which can be changed there."""
    path: str


def describe(folder: Path) -> tuple[FileEntry, ...]:
    """Every file under `folder`, hashed, by path; ArtifactError for what an artifact must not hold."""
    entries = tuple(_entry(folder, path) for path in _files(folder))
    if not entries:
        raise ArtifactError(f"expected files in {folder}, found none: the stage wrote nothing")
    return entries


def differences(folder: UPath, entries: Iterable[FileEntry], *, record: str = MANIFEST) -> Iterator[Difference]:
    """How `folder` differs from its `entries`, byte for byte; the file `record`, which lists them, is left out."""
    expected = {entry.path: entry for entry in entries}
    try:
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if _is_content(path)}
    except OSError as error:
        yield Difference("unreadable", f"the folder ({error.strerror})")
        return
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield Difference("missing", name)
        elif found[name].is_symlink():
            yield Difference("link", name)
        elif name == record:
            continue
        elif name not in expected:
            yield Difference("extra", name)
        else:
            yield from _change(found[name], expected[name])


def _is_content(path: UPath) -> bool:
    return path.is_symlink() or not path.is_dir()


def _change(path: UPath, entry: FileEntry) -> Iterator[Difference]:
    try:
        same = path.is_file() and path.stat().st_size == entry.bytes  # a pipe would keep its reader waiting
        if not same or sha256_of(path) != entry.sha256:
            yield Difference("changed", entry.path)
    except OSError:
        yield Difference("unreadable", entry.path)


def sha256_of(path: Path | UPath) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    paths = sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix())
    for path in paths:
        _refuse_unfit(folder, path)
    return [path for path in paths if path.is_file()]


def _refuse_unfit(folder: Path, path: Path) -> None:
    name = path.relative_to(folder).as_posix()
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise ArtifactError(f"{name}: expected plain files and folders, got a link or a device; copy what it names")
    if path.suffix.lower() in EXECUTABLE_SUFFIXES:
        raise ArtifactError(f"{name}: {path.suffix} files can run code when loaded; write safetensors, parquet or JSON")
    if name == MANIFEST:
        raise ArtifactError(f"{name}: this name is kept for the artifact's own manifest; choose another")


def _entry(folder: Path, path: Path) -> FileEntry:
    rows = _parquet_rows(path) if path.suffix == ".parquet" else None
    return FileEntry(path.relative_to(folder).as_posix(), sha256_of(path), path.stat().st_size, rows)


def _parquet_rows(path: Path) -> int:
    from pyarrow import ArrowException, parquet  # half a second to import, and only tables need it

    try:
        rows: int = parquet.read_metadata(path).num_rows
    except ArrowException as error:
        raise ArtifactError(f"{path.name}: expected a whole parquet file, but {error}; was the disk full?") from error
    return rows
