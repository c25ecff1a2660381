"""Records that outlive whoever writes them: each is on the disk before the next step is taken."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from agentprm_dagster.provenance.durable import make_folder, sync
from agentprm_dagster.provenance.lock import locked

_log = logging.getLogger(__name__)

R = TypeVar("R")
Record = dict[str, Any]


class Journal(Generic[R]):
    """A file of JSON lines that only grows; several threads write to it."""

    def __init__(self, path: Path, read: Callable[[Record], R]) -> None:
        """Reads what is there, each line by `read`, which raises ValueError for one that is no record.

        Such a line stays in the file, is named in a warning, and is none of the records. A last line without its end
        was being written when its writer was killed: it goes.
        """
        make_folder(path.parent)
        self._file = path.open("a+b")
        sync(path.parent)
        self._lock = Lock()
        self._read = read
        self._file.seek(0)
        written = self._file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        self.records: list[R] = []
        self.set_aside: list[bytes] = []
        """The lines that are no records."""
        for number, line in enumerate(whole.splitlines(), 1):
            self._take(line, f"{path}, line {number}")

    def append(self, record: Mapping[str, Any]) -> None:
        """Returns when the record is on the disk; ValueError, and nothing is written, where it is none."""
        line = json.dumps(record).encode()
        known = self._read(_object(line))
        with self._lock:
            self._file.write(line + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.records.append(known)

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def _take(self, line: bytes, place: str) -> None:
        try:
            self.records.append(self._read(_object(line)))
        except (ValueError, RecursionError) as error:
            self.set_aside.append(line)
            _log.warning("%s: expected a record (%s): the line is set aside and stays in the file", place, error)


@contextmanager
def open_journal(path: Path, what: str, read: Callable[[Record], R]) -> Iterator[Journal[R]]:
    """The journal at `path`, by one process at a time; LockedError if another writes it while it makes `what`."""
    with locked(path.with_suffix(".lock"), what):
        journal = Journal(path, read)
        try:
            yield journal
        finally:
            journal.close()


def _object(line: bytes) -> Record:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, got {type(record).__name__}")
    return record
