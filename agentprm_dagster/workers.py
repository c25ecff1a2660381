"""A Python process of its own that messages are exchanged with; it ends with the process that started it.

`Worker` starts it; there `serve` of a module is called with the other end of the pipe. Messages are what can be sent to
a process of `multiprocessing`, tensors in shared memory included. Those processes outlive a parent that was killed,
import its main module anew, and cannot be given an environment.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe, current_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

from agentprm_dagster.garbage import look_rarely

_END_SECONDS = 10.0
"""How long a worker that says nothing more may take to end."""


class WorkerError(RuntimeError):
    """A worker process ended before its work was done."""


class Worker:
    """A process that was started, and this end of its pipe."""

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        """
        Args:
            module: its name; `serve(pipe)` in it is the work, and receives what is sent from here.
            environment: variables set before Python starts there, besides those of this process.
        """
        self._module, self._printed = module, tempfile.TemporaryFile()  # noqa: SIM115, `close` closes it
        self.pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, module, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=self._printed,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                pass_fds=[theirs.fileno()],
            )
        self.pid = self._process.pid
        self.send((bytes(current_process().authkey), sys.path))

    def send(self, message: object) -> None:
        """Sends a message, also to a process that has died: that is told by `receive`."""
        with suppress(ConnectionError):
            self.pipe.send(message)

    def receive(self) -> Any:
        """Waits for a message.

        Raises:
            WorkerError: the process ended; with how, and the end of what it printed.
        """
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            how = self._how_it_ended()
        self._printed.seek(0)
        words = self._printed.read().decode(errors="replace").strip()[-2000:]
        raise WorkerError(f"the process of {self._module} {how} before its work was done; it said:\n{words}")

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self.pipe.close()
        self._printed.close()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        if code >= 0:
            return f"ended with exit code {code}"
        no_memory = ": there may have been no memory left" if code == -signal.SIGKILL else ""
        return f"was killed by signal {-code} ({signal.strsignal(-code)}{no_memory})"


def wait_for_any(workers: Collection[Worker]) -> list[Worker]:
    """Those of at least one worker that have a message to receive, or have ended."""
    ready = wait([worker.pipe for worker in workers])
    return [worker for worker in workers if worker.pipe in ready]


def _end_with_the_starter() -> None:
    os.read(0, 1)  # nothing is ever written to it; the system closes it, however the starter dies
    os._exit(1)


def main(module: str, descriptor: str) -> None:
    """In the process that was started: calls `serve`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter
    Thread(target=_end_with_the_starter, daemon=True).start()
    look_rarely()
    with Connection(int(descriptor)) as pipe:
        current_process().authkey, sys.path[:] = pipe.recv()  # the key for tensors, which are fetched from the starter
        import_module(module).serve(pipe)


if __name__ == "__main__":
    main(*sys.argv[1:])
