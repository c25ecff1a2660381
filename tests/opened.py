"""Which files were opened, by the kernel's own account (inotify): what a stage really read."""

import ctypes
import ctypes.util
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_OPEN, _IN_NONBLOCK, _IN_ISDIR = 0x20, 0o4000, 0x40000000
_EVENT = struct.Struct("iIII")


@contextmanager
def opened(folder: Path) -> Iterator[set[Path]]:
    """The files under a folder that anybody opens within the block; folders made meanwhile are not watched.

    Raises:
        OSError: the system has no inotify, or too few watches.
    """
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    descriptor = libc.inotify_init1(_IN_NONBLOCK)
    watched: dict[int, Path] = {}
    found: set[Path] = set()
    try:
        for path in (folder, *(each for each in folder.rglob("*") if each.is_dir())):
            number = libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_OPEN)
            if number < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
            watched[number] = path
        yield found
        found.update(_events(descriptor, watched))
    finally:
        os.close(descriptor)


def _events(descriptor: int, watched: dict[int, Path]) -> Iterator[Path]:
    while True:
        try:
            events = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return
        while events:
            number, mask, _, length = _EVENT.unpack_from(events)
            name = events[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
            events = events[_EVENT.size + length :]
            if name and not mask & _IN_ISDIR:
                yield watched[number] / os.fsdecode(name)
