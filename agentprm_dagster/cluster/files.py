"""Folders whose files go, while a task runs, to the process that has started it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from agentprm_dagster.cluster.parcels import inside

_CHUNK = 16 * 2**20
_LOOK_SECONDS = 1.0
_UNFINISHED = (".new", ".part")


class Piece(NamedTuple):
    """A part of a file."""

    folder: str
    """What the folder is called where it goes to."""
    name: str
    offset: int
    content: bytes
    last: bool


def send_folder(send: Callable[[Piece], None], called: str, folder: Path) -> None:
    """Sends all files of a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _send(send, called, folder, path)


class Mirror:
    """Sends the files of a folder as often as they change, from a thread of its own; a context manager."""

    def __init__(self, send: Callable[[Piece], None], called: str, folder: Path) -> None:
        self._send, self._called, self._folder = send, called, folder
        self._sent = self._found()
        self._end = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(_LOOK_SECONDS):
            found = self._found()
            for path in [path for path, state in found.items() if self._sent.get(path) != state]:
                _send(self._send, self._called, self._folder, path)
            self._sent = found

    def _found(self) -> dict[Path, tuple[int, int]]:
        """Every file that is whole, with what tells whether it is another one by now."""
        paths = [each for each in self._folder.rglob("*") if each.is_file() and each.suffix not in _UNFINISHED]
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}


def receive(piece: Piece, folders: Mapping[str, Path]) -> None:
    """Writes a part; the file is in its place once the last one has come."""
    path = inside(folders[piece.folder], piece.name)
    part = path.with_name(f"{path.name}.part")
    with part.open("r+b" if piece.offset else "wb") as file:
        file.seek(piece.offset)
        file.write(piece.content)
    if piece.last:
        part.replace(path)


def _send(send: Callable[[Piece], None], called: str, folder: Path, path: Path) -> None:
    name = path.relative_to(folder).as_posix()
    with path.open("rb") as file:
        content, offset = file.read(_CHUNK), 0
        while True:
            following = file.read(_CHUNK)
            send(Piece(called, name, offset, content, last=not following))
            if not following:
                return
            content, offset = following, offset + len(content)
