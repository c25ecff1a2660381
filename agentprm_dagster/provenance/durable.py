"""Writing so that a killed process or a cut power line leaves the old or the new, never a mixture.

What is made here is for this user alone: folders 0700, files 0600.
"""

import os
from pathlib import Path
from typing import IO, Any

from agentprm_dagster.provenance.filesystem import is_unsupported, warn_once


def sync(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk; a filesystem that cannot is warned of."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_unsupported(error):
            raise
        warn_once(
            f"The filesystem does not sync everything ({error.strerror}): after a power cut, what was written last may "
            "be gone or damaged. `agentprm verify` finds that; a home on a local disk avoids it."
        )
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """`sync` for everything under a folder, the deepest first, and the folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, durably and private; those that exist keep their permissions."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync(folder.parent)


def open_private(path: Path, mode: str) -> IO[Any]:
    """`open` for a file that only this user may read, if it is new."""
    encoding = None if "b" in mode else "utf-8"
    return open(path, mode, encoding=encoding, opener=_private)  # Path.open takes no opener


def replace_text(path: Path, text: str) -> None:
    """Writes a small file in one step; one writer at a time (the callers hold a guard)."""
    make_folder(path.parent)
    new = path.with_name(f"{path.name}.new")
    with open_private(new, "w") as file:
        file.write(text)
    sync(new)
    new.replace(path)
    sync(path.parent)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
