"""Runs a server, and ends it with all its processes as soon as whoever started it is gone: python guard.py COMMAND."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Thread
from time import monotonic, sleep

_END_SECONDS = 10.0
"""How long a server may take to end by itself, and to leave the memory of its GPUs."""
_REST_SECONDS = 2.0


def _end_with_the_starter(server: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)  # nothing is ever written to it; the system closes it, however the starter dies
    server.terminate()
    try:
        server.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


def main(command: list[str]) -> int:
    """Waits for the server's end; its exit code."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    Thread(target=_end_with_the_starter, args=[server], daemon=True).start()
    code = server.wait()
    _end_the_rest(server.pid)
    return code


def _end_the_rest(group: int) -> None:
    """Ends what the server has started and left behind; some of it takes a moment to give back shared memory."""
    until = monotonic() + _REST_SECONDS
    with suppress(ProcessLookupError):
        while monotonic() < until:
            os.killpg(group, 0)
            sleep(0.02)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
