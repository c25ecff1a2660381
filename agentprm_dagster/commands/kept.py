"""Runs a program that ends, with everything it has started, when whoever started it is gone.

    python -m agentprm_dagster.commands.kept PROGRAM ARGUMENTS

Whoever starts this keeps its standard input open and never writes to it; the system closes it however the starter dies.
Interrupts are passed on to the program, whose exit code this ends with.
"""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Thread
from types import FrameType

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> None:
    """Runs the command and ends with it."""
    _adopt_orphans()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where it is ignored, the program would ignore it too
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, no child's end can be waited for
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # where it is ignored, the program would ignore it too
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(program.pid, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    Thread(target=_end_with_the_starter, daemon=True).start()
    code = _exit_code(program.pid)
    _end_descendants()
    sys.exit(code if code >= 0 else 128 - code)


def _exit_code(pid: int) -> int:
    """Waits for a child, and for every adopted one that ends before it."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _adopt_orphans() -> None:
    """Lets processes whose parent has died become children of this one, where the system knows that (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_with_the_starter() -> None:
    os.read(0, 1)  # sys.stdin's own lock must not be held when this process ends
    _end_descendants()
    os._exit(1)


def _end_descendants() -> None:
    """Kills until nothing is left: a process may start another while it is looked for."""
    while living := [process for process in psutil.Process().children(recursive=True) if not _is_zombie(process)]:
        for process in living:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(living, timeout=5)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


if __name__ == "__main__":
    main(sys.argv[1:])
