"""One owner at a time: for moments, or for hours as a file that its owner keeps locked and that names it.

The kernel keeps the lock while the owner lives, stopped or slow, in any container and under any host name, and lets go
when it dies, killed or not; what the file says is for messages. Where the filesystem keeps no locks, the file's content
decides (provenance/owner.py): a dead owner's file is taken over, that of an owner who cannot be seen from here is not,
and processes on two machines are not kept apart for moments.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import RLock
from time import sleep
from types import TracebackType
from typing import IO, Any, Self
from uuid import uuid4

from agentprm_dagster.provenance.durable import make_folder, open_private, replace_text
from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.filesystem import NoLocksError, flock, warn_once
from agentprm_dagster.provenance.owner import Owner

_GLANCES, _GLANCE_SECONDS = 20, 0.005
"""Whoever only looks whether a file is locked has it locked meanwhile, and for no longer than this."""

_OWNER = ".owner"

_log = logging.getLogger(__name__)
_threads = RLock()


class Hold:
    """A file that this process keeps locked until the block ends, or until it dies."""

    def __init__(self, path: Path, file: IO[Any]) -> None:
        self._path, self._file = path, file
        _open_files.add(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the file, unless another has put its own there, and lets go."""
        if self._file.closed:  # here is a process forked from the one that took it
            return
        _open_files.discard(self._file)
        with self._file:
            if _is_at(self._file, self._path):
                self._path.unlink()


class HoldByName(Hold):
    """The same where the filesystem keeps no locks: the file names this process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with guarded(self._path.parent):
            if read_owner(self._path) == Owner.this_process():
                self._path.unlink()


_open_files: set[IO[Any]] = set()


def _forget() -> None:
    """Closes what a forked process has inherited: a lock goes with the process that took it."""
    while _open_files:
        _open_files.pop().close()


os.register_at_fork(after_in_child=_forget)


def take(path: Path) -> Hold | None:
    """Locks the file at `path`, new or left by a dead process; None where a living process holds it.

    Raises:
        LockedError: the file cannot be opened by this user.
    """
    make_folder(path.parent)
    while True:
        with ExitStack() as stack:
            file = stack.enter_context(_opened(path))
            try:
                if not _lock_soon(file):
                    return None
            except NoLocksError as refusal:
                return _take_by_name(path, refusal)
            if _is_at(file, path):  # else whoever had it has removed it meanwhile
                file.truncate(0)
                file.write(Owner.this_process().to_json())
                file.flush()
                stack.pop_all()
                return Hold(path, file)


def is_held(path: Path) -> bool:
    """Whether a living process holds the file at `path`, or may hold it; needs no right but to read it."""
    try:
        with path.open("rb") as file:
            return not flock(file, shared=True)
    except FileNotFoundError:
        return False
    except NoLocksError:
        return _held_by_name(path)


def read_owner(path: Path) -> Owner | None:
    """Whom a lock file names; None where there is none, or it names nobody."""
    with suppress(OSError, ValueError):
        return Owner.from_json(path.read_text(encoding="utf-8"))
    return None


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """For hours: holds the lock file `path` while `what` is made; LockedError if a living process holds it."""
    hold = take(path)
    if hold is None:
        raise LockedError(refusal(what, read_owner(path), f"If it is gone for sure, remove {path}"))
    with hold:
        yield


def refusal(what: str, owner: Owner | None, if_gone: str) -> str:
    """What a LockedError says of whoever makes `what`; `if_gone` is what to do about one who cannot be seen."""
    if owner is None or owner.state() != "elsewhere":
        return f"{what} is being made by {owner or 'another process'}: wait for it or stop it, then try again"
    return (
        f"{what} is being made by {owner}, in another container or on another machine: wait for it or stop it. "
        f"{if_gone}"
    )


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """For moments: one process at a time; the system lets go when the process dies."""
    make_folder(folder)
    with ExitStack() as stack:
        file = stack.enter_context(open_private(folder / "guard", "a"))
        try:
            flock(file, wait=True)
        except NoLocksError as error:
            _warn(error)
            stack.enter_context(_guarded_on_this_machine(folder))
        yield


@contextmanager
def held_folder(parent: Path, name: str = "") -> Iterator[Path]:
    """A new folder in `parent`, its name beginning with `name`, that goes when the block ends.

    `sweep_folders` removes those of processes that were killed meanwhile.
    """
    hold = None
    while hold is None:  # None only if a sweep has the new file at this very moment
        folder = parent / f"{name}{uuid4().hex}"
        hold = take(owner_file(folder))
    with hold:
        try:
            make_folder(folder)
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)


def sweep_folders(parent: Path) -> list[Path]:
    """Removes the folders of `held_folder` whose processes are dead; answers which."""
    entries = sorted(parent.iterdir()) if parent.is_dir() else []
    names = {path.name.removesuffix(_OWNER) for path in entries if path.is_dir() or path.suffix == _OWNER}
    folders = [parent / name for name in sorted(names)]
    return [folder for folder in folders if sweep_file(owner_file(folder), folder)]


def sweep_file(path: Path, folder: Path | None = None) -> bool:
    """Removes a lock file that no living process holds, and the folder that went with it; whether there was any."""
    try:
        hold = None if is_held(path) else take(path)
        if hold is None:
            return False
        with hold:
            if folder is None or not folder.is_dir():
                return folder is None
            shutil.rmtree(folder)
            return True
    except (LockedError, OSError) as error:  # another user's, for example: it is in nobody's way
        _log.warning("left by a killed process and cannot be removed: %s", error)
        return False


def owner_file(folder: Path) -> Path:
    """Beside the folder and not in it: there before the folder, and until all of it is gone."""
    return folder.with_name(f"{folder.name}{_OWNER}")


def _opened(path: Path) -> IO[Any]:
    try:
        return open_private(path, "a")
    except (PermissionError, IsADirectoryError) as error:
        raise LockedError(
            f"{path}: expected a lock file that this user can write, but: {error.strerror}. Remove it if nothing runs"
        ) from error


def _is_at(file: IO[Any], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock_soon(file: IO[Any]) -> bool:
    for _ in range(_GLANCES):
        if flock(file):
            return True
        sleep(_GLANCE_SECONDS)
    return False


def _take_by_name(path: Path, refusal: NoLocksError) -> Hold | None:
    _warn(refusal)
    with guarded(path.parent):
        if _held_by_name(path):
            return None
        replace_text(path, Owner.this_process().to_json())
    return HoldByName(path)


def _held_by_name(path: Path) -> bool:
    owner = read_owner(path)
    return owner is not None and owner.state() != "dead"


def _warn(refusal: NoLocksError) -> None:
    warn_once(
        f"The filesystem keeps no locks ({refusal}): run one machine, and one container, at a time on this home; locks "
        "of a machine that has since been started anew have to be removed by hand."
    )


@contextmanager
def _guarded_on_this_machine(folder: Path) -> Iterator[None]:
    """A lock on a file in the system's temporary folder, of the kind that belongs to a process."""
    name = f"agentprm-{os.getuid()}-{sha256(os.fsencode(folder.absolute())).hexdigest()[:16]}.guard"
    descriptor = os.open(Path(tempfile.gettempdir()) / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with _threads, os.fdopen(descriptor, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield
