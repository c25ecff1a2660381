"""Runs a command, and ends it with all its processes as soon as whoever started it is gone: python guard.py COMMAND."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ctypes import CDLL
from functools import partial
from threading import Thread
from time import monotonic, sleep
from typing import IO

_END_SECONDS = 10.0
"""How long a command may take to end by itself, and to leave the memory of its GPUs."""
_REST_SECONDS = 2.0
_LAST_WORDS = 8000
"""How many bytes of what it printed are repeated."""
_LIBC = CDLL(None)
_PR_SET_PDEATHSIG = 1


def guarded(command: Sequence[str], printed: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts a command under a guard, which ends it when this process ends or closes the guard's standard input.

    `printed` is the descriptor of the file for what it prints. `communicate` of what is answered ends it, and waits.
    """
    return subprocess.Popen(
        [sys.executable, "-P", __file__, *command],
        stdin=subprocess.PIPE,
        stdout=printed,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,  # Ctrl-C is for the starter
    )


def last_words(printed: IO[bytes]) -> str:
    """The end of what it printed."""
    file = printed.fileno()
    # Not by seeking: the command goes on writing where this file object stands.
    last = os.pread(file, _LAST_WORDS, max(os.fstat(file).st_size - _LAST_WORDS, 0))
    return last.decode(errors="replace").strip()


def _end_with_the_starter(command: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)  # nothing is ever written to it; the system closes it, however the starter dies
    command.terminate()
    try:
        command.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        command.kill()


def end_with(parent: int) -> None:
    """Has Linux end this process when its parent is killed, as Ray does with what a worker has started."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def main(command: list[str]) -> int:
    """Waits for the command's end; its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, no exit code is known
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # where it is ignored, the command would ignore it too
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=partial(end_with, os.getpid()),  # safe: there is no other thread yet
    )
    Thread(target=_end_with_the_starter, args=[process], daemon=True).start()
    code = process.wait()
    _end_the_rest(process.pid)
    return code


def _end_the_rest(group: int) -> None:
    """Ends what the command has started and left behind; some of it takes a moment to give back shared memory."""
    until = monotonic() + _REST_SECONDS
    with suppress(ProcessLookupError):
        while monotonic() < until:
            os.killpg(group, 0)
            sleep(0.02)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
