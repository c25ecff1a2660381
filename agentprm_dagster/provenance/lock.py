"""One owner at a time. The lock is a file that names its owner; a dead owner's lock is taken over."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentprm_dagster.provenance.durable import make_folder, replace_text
from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.owner import Owner


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """For moments: one process of this machine at a time; the system lets go when the process dies."""
    make_folder(folder)
    with (folder / "guard").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """For hours: holds the lock file `path` while `what` is made; LockedError if a living process holds it."""
    owner = Owner.this_process()
    with guarded(path.parent):
        _refuse_if_held(path, what)
        replace_text(path, owner.to_json())
    try:
        yield
    finally:
        with guarded(path.parent):
            if read_owner(path) == owner:
                path.unlink()


def read_owner(path: Path) -> Owner | None:
    """Whom a lock file names; None where there is no lock."""
    try:
        return Owner.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LockedError(f"{path} does not name its owner ({error}); remove it if nothing runs") from error


def _refuse_if_held(path: Path, what: str) -> None:
    owner = read_owner(path)
    if owner is None or owner.state() == "dead":
        return
    if owner.state() == "alive":
        raise LockedError(f"{what} is being made by {owner}: wait for it or stop it, then try again")
    raise LockedError(f"{what} was locked by {owner}, another machine: if it is gone for sure, remove {path}")
