"""One owner at a time across machines: a numbered file in a store that all of them see, renewed by whoever holds it.

    <root>/.leases/<experiment>.<asset>.<iteration>/<generation>     the holder, how often it renewed, whether it let go

The highest generation is the lease, and is never removed. It is taken by creating the next one, which the filesystem
lets only one process do: when it was released, when its holder is known to be dead, or when it was not renewed for
TTL_SECONDS on the clock of whoever watches it. No two machines' clocks are compared.

A holder that was stopped or cut off meanwhile learns by `require`, before it changes anything, that it has lost the
lease (fencing, as in Kleppmann 2016, "How to do distributed locking"). An object store compares no generations itself.
What remains is a holder that stands still for TTL_SECONDS between `require` and the write after it: the version that it
then commits, or makes the current one, is whole.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from errno import EINVAL, ENOSYS
from itertools import count
from threading import Event, Thread
from time import monotonic, sleep
from typing import Self
from uuid import uuid4

from fsspec import AbstractFileSystem
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass
from upath import UPath

from agentprm_dagster.provenance.errors import LeaseLostError, LockedError
from agentprm_dagster.provenance.lock import refusal
from agentprm_dagster.provenance.owner import Owner

RENEW_SECONDS = 10.0
TTL_SECONDS = 60.0
"""How long a lease lives that is not renewed (its time-to-live)."""
_LOOKS = 4
"""How often a watcher looks in the time in which a living holder renews once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class _Record:
    """What a generation's file says."""

    holder: Owner
    token: str
    """Of one taking alone: an answer that was lost on the way, and the request sent again, is told from a refusal."""
    renewals: int = 0
    released: bool = False

    def to_bytes(self) -> bytes:
        return TypeAdapter(type(self)).dump_json(self)

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        """None for what is no record: its generation counts, and is over when it has not changed for long enough."""
        with suppress(ValueError):
            return TypeAdapter(cls).validate_json(content)
        return None


class _Generations:
    """The files of one lease."""

    def __init__(self, root: UPath, name: str) -> None:
        self._fs: AbstractFileSystem = root.fs
        self._folder = f"{root.path.rstrip('/')}/.leases/{name}"

    def all(self) -> list[int]:
        """Those that are there, from the store itself and no listing kept from before."""
        self._fs.invalidate_cache(self._folder)
        try:
            names = [path.rpartition("/")[2] for path in self._fs.ls(self._folder, detail=False)]
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def highest(self) -> int:
        """0 where there is none."""
        return max(self.all(), default=0)

    def read(self, generation: int) -> bytes | None:
        """None where it was removed, as there is a higher one."""
        try:
            return self._fs.cat_file(self._path(generation))
        except FileNotFoundError:
            return None

    def write(self, generation: int, record: _Record) -> None:
        self._fs.pipe_file(self._path(generation), record.to_bytes())

    def create(self, generation: int, record: _Record) -> bool:
        return _create(self._fs, self._path(generation), record.to_bytes())

    def remove(self, generation: int) -> None:
        """One that cannot be removed is in nobody's way."""
        with suppress(OSError):
            self._fs.rm_file(self._path(generation))

    def _path(self, generation: int) -> str:
        return f"{self._folder}/{generation:012d}"


class Lease:
    """The right to make `what`, from when it is taken until the block ends or another takes it over."""

    def __init__(self, generations: _Generations, generation: int, record: _Record, what: str) -> None:
        self._generations, self._generation, self._record, self._what = generations, generation, record, what
        self._renewals, self._ended = count(1), Event()
        self._thread = Thread(target=self._renew_until_ended, name=f"lease of {what}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Releases it; where that cannot be written, it is over after its time-to-live."""
        self._ended.set()
        self._thread.join()
        try:
            if self._generations.highest() == self._generation:
                self._generations.write(self._generation, replace(self._record, released=True))
        except Exception as error:  # whatever a filesystem raises: what was made is committed
            _log.warning("%s: its lease was not released and ends in %g s: %s", self._what, TTL_SECONDS, error)

    def require(self) -> None:
        """Renews it, and looks whether it is still this process's.

        Raises:
            LeaseLostError: another has taken it over.
        """
        self._generations.write(self._generation, replace(self._record, renewals=next(self._renewals)))
        if (highest := self._generations.highest()) != self._generation:
            record = _Record.read(self._generations.read(highest) or b"")
            raise LeaseLostError(
                f"{self._what} was taken over by {record.holder if record else 'another process'}, as this one "
                f"({self._record.holder}) was not heard of for {TTL_SECONDS:g} s. What is made here is not committed. "
                "Run again when the other is done: what it has made is found"
            )

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                self.require()
            except LeaseLostError as error:
                _log.warning("%s", error)
                return
            except Exception as error:  # whatever a filesystem raises: it may be there again in time
                _log.warning("%s: its lease could not be renewed: %s", self._what, error)


def take(root: UPath, name: str, what: str) -> Lease:
    """The lease `name` of the store at `root`, to be held in a `with` block.

    A lease that is held is watched: whether its holder lives is known when it renews it, or does not.

    Raises:
        LockedError: a living process holds it.
    """
    generations, record = _Generations(root, name), _Record(Owner.this_process(), uuid4().hex)
    while True:
        highest = generations.highest()
        if highest:
            _wait_until_over(generations, highest, what)
        mine = highest + 1
        if not generations.create(mine, record):
            continue
        *lower, last = generations.all()
        if last == mine:
            for generation in lower:
                generations.remove(generation)
            return Lease(generations, mine, record, what)
        generations.remove(mine)  # others took this number, and the next ones, since the highest was looked for


def creates_for_one(root: UPath) -> bool:
    """Whether of several processes that create one file in the store one alone succeeds, which leases are built on.

    Tried with a file that is written, read and removed. OSError, or what else a filesystem raises, where it cannot be.
    """
    fs = root.fs
    if getattr(fs.pipe_file, "__func__", None) is AbstractFileSystem.pipe_file:
        return False  # it looks whether the file is there, and then writes
    path = f"{root.path.rstrip('/')}/.leases/{uuid4().hex}"
    try:
        return _create(fs, path, b"first") and not _create(fs, path, b"second") and fs.cat_file(path) == b"first"
    except (NotImplementedError, TypeError, ValueError):  # a filesystem that does not know the mode says so
        return False
    except OSError as error:
        if error.errno not in (EINVAL, ENOSYS):  # an S3 server that knows no If-None-Match
            raise
        return False
    finally:
        with suppress(OSError):
            fs.rm_file(path)


def _create(fs: AbstractFileSystem, path: str, content: bytes) -> bool:
    """Writes a file that is not there; whether it holds this content, and so was written by this call.

    That it is there already is said in several ways; what it holds decides.
    """
    try:
        fs.pipe_file(path, content, mode="create")
    except OSError as error:
        try:
            return fs.cat_file(path) == content
        except FileNotFoundError:
            if isinstance(error, FileExistsError):  # and was removed since
                return False
            raise error from None
    return True


def _wait_until_over(generations: _Generations, generation: int, what: str) -> None:
    """Returns when the lease of a generation can be taken; LockedError when it is renewed."""
    first, since = None, 0.0
    while True:
        now = monotonic()
        content = generations.read(generation)
        record = _Record.read(content or b"")
        if content is None or (record and (record.released or record.holder.state() == "dead")):
            return
        holder = record.holder if record else None
        if first is None:
            _log.info("%s is held by %s: watching whether it lives", what, holder or "another process")
            first, since = content, monotonic()
        elif content != first:
            raise LockedError(refusal(what, holder, f"If it is stopped, its lease ends {TTL_SECONDS:g} s later"))
        elif now - since >= TTL_SECONDS:
            _log.warning("%s is taken over: %s was not heard of for %g s", what, holder or "its owner", TTL_SECONDS)
            return
        sleep(RENEW_SECONDS / _LOOKS)
