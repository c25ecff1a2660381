"""Who is doing something: a process that can be told from every other, also after it has died."""

import os
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Owner:
    """A process: its number alone would be given again, to another."""

    pid: int
    host: str
    boot: str
    """The machine's boot; a process of another boot is gone."""
    started: str
    """When the process started, as the system counts it."""

    @classmethod
    def this_process(cls) -> Self:
        """The caller."""
        pid = os.getpid()
        return cls(pid, socket.gethostname(), _boot(), _started(pid) or "")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `to_json`'s text; ValueError for anything else."""
        return TypeAdapter(cls).validate_json(text)

    def to_json(self) -> str:
        """One line of JSON."""
        return TypeAdapter(type(self)).dump_json(self).decode()

    def state(self) -> Literal["alive", "dead", "elsewhere"]:
        """Whether the process still runs; of another machine's processes nothing can be said."""
        if self.host != socket.gethostname():
            return "elsewhere"
        return "alive" if self.boot == _boot() and _started(self.pid) == self.started else "dead"

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


if sys.platform == "linux":

    @cache
    def _boot() -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def _started(pid: int) -> str | None:
        """Clock ticks from boot to the process's start (proc(5), field 22); None where it is gone or a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]

else:
    import psutil

    def _boot() -> str:
        return ""  # the start below is a time of day and differs from boot to boot

    def _started(pid: int) -> str | None:
        """The process's start in seconds since 1970; None where it is gone or a zombie."""
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
        except psutil.NoSuchProcess:
            return None
