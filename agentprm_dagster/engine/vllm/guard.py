"""Runs a server, and ends it with all its processes as soon as whoever started it is gone: python guard.py COMMAND."""

import os
import signal
import subprocess
import sys
from threading import Thread


def _end_with_the_starter() -> None:
    os.read(0, 1)  # nothing is ever written to it; the system closes it, however the starter dies
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Waits for the server's end; its exit code. This process leads a group of its own, which the server is in."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    Thread(target=_end_with_the_starter, daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
