"""Who is doing something: a process that can be told from every other, also after it has died.

What a process holds for hours is a file that it keeps locked (provenance/lock.py). An `Owner` is for records that
others keep: a tag of a Dagster or an MLflow run. It names no host that could be renamed and no time of day that could
be set: the machine's boot, the container's process-id namespace, the process's number and its start in clock ticks.
"""

import os
import socket
import sys
from contextlib import suppress
from functools import cache
from getpass import getuser
from pathlib import Path
from typing import IO, Any, Literal, Self

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from agentprm_dagster.provenance.durable import make_folder, open_private
from agentprm_dagster.provenance.filesystem import NoLocksError, flock


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Owner:
    """A process: its number alone would be given again, to another."""

    pid: int
    host: str
    """For people: hosts change their names, and containers share them."""
    boot: str
    """The machine's boot; numbers begin anew at each. Empty where the system does not tell."""
    started: str
    """When the process started, as the system counts it."""
    namespace: str = ""
    """The process-id namespace, that is the container, in which the number counts."""
    presence: str = ""
    """A file that the processes of this boot and namespace keep locked, for those who cannot see them; or empty."""

    @classmethod
    def this_process(cls, presence: Path | None = None) -> Self:
        """The caller; in the folder `presence` it leaves a file that tells others whether its container still runs."""
        pid, boot, namespace = os.getpid(), _boot(), _namespace()
        known = _show_presence(presence, f"{boot}.{namespace}") if presence and boot else ""
        return cls(pid, socket.gethostname(), boot, _started(pid) or "", namespace, known)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `to_json`'s text; ValueError for anything else."""
        return TypeAdapter(cls).validate_json(text)

    def to_json(self) -> str:
        """One line of JSON."""
        return TypeAdapter(type(self)).dump_json(self).decode()

    def state(self) -> Literal["alive", "dead", "elsewhere"]:
        """Whether the process still runs; "elsewhere" where that cannot be seen from here.

        In its own container the system tells. From another container, from another machine and after a reboot it is
        dead if nobody holds its presence file.
        """
        if self.boot and self.namespace and (self.boot, self.namespace) == (_boot(), _namespace()):
            try:
                return "alive" if _started(self.pid) == self.started else "dead"
            except PermissionError:  # another user's, and hidden
                return "elsewhere"
        return "dead" if self.presence and _is_deserted(Path(self.presence)) else "elsewhere"

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def user_name() -> str:
    """Who runs this process, as the system calls them; empty for a number without a name, as containers have them."""
    with suppress(KeyError, OSError):
        return getuser()
    return ""


def is_running(pid: int) -> bool:
    """Whether a process of this number runs here, whichever it is."""
    try:
        return _started(pid) is not None
    except PermissionError:  # another user's, and hidden
        return True


@cache
def _show_presence(folder: Path, name: str) -> str:
    """Locks the file of this boot and namespace, together with others of it, until this process has died."""
    make_folder(folder)
    path = folder.absolute() / name
    file = open_private(path, "a")
    try:
        flock(file, shared=True, wait=True)
    except NoLocksError:
        file.close()
        return ""
    _held.append(file)
    return str(path)


_held: list[IO[Any]] = []
"""Open, and so locked, for as long as this process lives."""


def _is_deserted(presence: Path) -> bool:
    """Whether the file is here and nobody holds it."""
    try:
        with presence.open("r+b") as file:
            return flock(file)
    except (OSError, NoLocksError):  # it belongs to another home, or cannot be looked at
        return False


if sys.platform == "linux":

    @cache
    def _boot() -> str:
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def _namespace() -> str:
        """The namespace's number; empty where /proc is another namespace's, whose numbers are others."""
        try:
            if Path("/proc/self").readlink().name != str(os.getpid()):
                return ""
            return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
        except OSError:
            return ""

    def _started(pid: int) -> str | None:
        """Clock ticks from boot to the process's start (proc(5), field 22); None where it is gone or a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]

else:
    import uuid

    import psutil

    @cache
    def _boot() -> str:
        return f"{uuid.getnode():012x}"  # the machine; the start below is a time of day and differs from boot to boot

    def _namespace() -> str:
        return "0"

    def _started(pid: int) -> str | None:
        """The process's start in seconds since 1970; None where it is gone or a zombie."""
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
        except psutil.NoSuchProcess:
            return None
        except psutil.AccessDenied as error:
            raise PermissionError(str(error)) from error
