"""Files that are sent to the nodes of a cluster: packed once, unpacked once a node, known by what is in them.

Nodes need no filesystem in common. What is sent lies in Ray's object store, in chunks, and goes to disk where memory is
short.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

_CHUNK = 64 * 2**20
_KEPT_SECONDS = 24 * 3600.0
"""How long a node keeps what it has unpacked and nobody has asked for since."""


@dataclass(frozen=True)
class Parcel:
    """Files in Ray's object store."""

    digest: str
    """sha256, in hex, over names and contents."""
    files: tuple[tuple[str, tuple[Any, ...]], ...]
    """By name in their folder, the references of their chunks."""


def pack(ray: Any, files: Mapping[str, Path]) -> Parcel:
    """Puts files, each under a name, into the object store of the cluster that `ray` is connected to."""
    digest, packed = sha256(), []
    for name, path in sorted(files.items()):
        digest.update(f"{len(name)} {name} {path.stat().st_size} ".encode())
        chunks = []
        for chunk in _chunks(path):
            digest.update(chunk)
            chunks.append(ray.put(chunk))
        packed.append((name, tuple(chunks)))
    return Parcel(digest.hexdigest(), tuple(packed))


def pack_folder(ray: Any, folder: Path) -> Parcel:
    """`pack` for all files of a folder."""
    return pack(ray, {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()})


def unpacked(ray: Any, parcel: Parcel) -> Path:
    """The folder with a parcel's files, on the node that asks."""
    place = _parcels() / parcel.digest
    if not place.is_dir():
        _drop_old(place.parent)
        part = place.with_name(f"{uuid4().hex}.part")
        for name, chunks in parcel.files:
            with inside(part, name).open("wb") as file:
                for chunk in chunks:
                    file.write(ray.get(chunk))
        part.mkdir(exist_ok=True)  # of no files
        try:
            part.rename(place)
        except OSError:  # another process of this node was first
            shutil.rmtree(part)
    os.utime(place)
    return place


def inside(folder: Path, name: str) -> Path:
    """The path of a file that another process has named, its folder made; ValueError where it is none of `folder`."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise ValueError(f"expected the name of a file within its folder, got {name!r}")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    return folder / path


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _parcels() -> Path:
    """A folder of this user alone."""
    folder = Path(tempfile.gettempdir()) / f"agentprm-parcels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    made = folder.lstat()
    if folder.is_symlink() or made.st_uid != os.getuid() or made.st_mode & 0o077:
        raise PermissionError(f"{folder}: expected a folder that only this user can read and write; remove it")
    return folder


def _drop_old(folder: Path) -> None:
    for place in folder.iterdir():
        try:
            old = time.time() - place.stat().st_mtime > _KEPT_SECONDS
        except FileNotFoundError:
            continue
        if old:
            shutil.rmtree(place, ignore_errors=True)
