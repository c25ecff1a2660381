"""Records that outlive whoever writes them: each is on the disk before the next step is taken."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from agentprm_dagster.provenance.durable import make_folder, sync
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lock import locked


class Journal:
    """A file of JSON lines that only grows; several threads write to it."""

    def __init__(self, path: Path) -> None:
        """Reads what is there. A last line without its end was being written when its writer was killed: it goes."""
        make_folder(path.parent)
        self._file = path.open("a+b")
        sync(path.parent)
        self._lock = Lock()
        self._file.seek(0)
        written = self._file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        self.records = [_record(path, number, line) for number, line in enumerate(whole.splitlines(), 1)]

    def append(self, record: Mapping[str, Any]) -> None:
        """Answers when the record is on the disk."""
        line = json.dumps(record).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self.records.append(dict(record))

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()


@contextmanager
def open_journal(path: Path, what: str) -> Iterator[Journal]:
    """The journal at `path`, by one process at a time; LockedError if another writes it while it makes `what`.

    Raises:
        ArtifactError: a line is not a record.
    """
    with locked(path.with_suffix(".lock"), what):
        journal = Journal(path)
        try:
            yield journal
        finally:
            journal.close()


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ArtifactError(f"{path}, line {number}: expected a JSON record ({error}); remove the line") from error
    if not isinstance(record, dict):
        raise ArtifactError(f"{path}, line {number}: expected a JSON record, got {line[:80]!r}; remove the line")
    return record
