"""Files that have a name outside a folder (a hard link), through which they can be changed."""

import os
from collections import defaultdict
from pathlib import Path

_LOOKS = 8
"""How often it is counted again while others give files names, as adoption does, before a file is believed."""

Names = dict[tuple[int, int], set[Path]]
"""By device and inode, the names of every file that has more than one."""


def linked_outside(root: Path, drafts: Path) -> list[Path]:
    """Names in `root` of files that have other names outside of it, sorted; `drafts` is the folder in it that files are
    moved out of.

    A file counts once nobody has given it a name from one count to the next.
    """
    before: dict[Path, int] = {}
    for _ in range(_LOOKS):
        names = _names(root, drafts)
        links = {path: _links(path) for paths in names.values() for path in paths}
        outside = {path: links[path] for paths in names.values() for path in paths if links[path] > len(paths)}
        if outside.items() <= before.items():
            return sorted(outside)
        before = outside
    return sorted(path for path in outside if before.get(path) == outside[path])


def _names(root: Path, drafts: Path) -> Names:
    """A file that is moved meanwhile is found in its old place, its new one or both, and never in none."""
    names: Names = defaultdict(set)
    for top in (drafts, root):
        for folder, _, files in os.walk(top):
            for path in (Path(folder, name) for name in files):
                status = _status(path)
                if status is not None and status.st_nlink > 1:
                    names[status.st_dev, status.st_ino].add(path)
    return names


def _links(path: Path) -> int:
    status = _status(path)
    return 0 if status is None else status.st_nlink


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:  # gone, or not to be looked at, which its reader says
        return None
