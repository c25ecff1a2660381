"""Programs of this environment that run while a command does, and end with it."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from agentprm_dagster.commands.ports import UiError
from agentprm_dagster.home import home, make_private

STOP_SECONDS = 20.0

Programs = Mapping[str, subprocess.Popen[bytes]]
"""What runs, by name."""


@contextmanager
def running(commands: Mapping[str, list[str]]) -> Iterator[Programs]:
    """Programs, each with a log under the home folder; stopped, children and all, at the end.

    They end, children and all, also when this process is killed. An interrupt ends the block and is told.
    """
    logs = make_private(home() / "logs")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started this may ignore it: no exit code would be known
    programs: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, (program, *arguments) in commands.items():
            path = Path(sys.executable).with_name(program)
            with (logs / f"{name}.log").open("ab") as log:
                kept = [sys.executable, "-P", "-m", "agentprm_dagster.commands.kept", str(path), *arguments]
                programs[name] = subprocess.Popen(
                    kept, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                )
        yield programs
    except KeyboardInterrupt:
        print("Stopping.", flush=True)
    finally:
        _stop(programs)


def refuse_ended(programs: Programs) -> None:
    """UiError if one of them has ended."""
    for name, program in programs.items():
        if program.poll() is not None:
            raise UiError(f"{name} ended with exit code {program.returncode}; see {home() / 'logs' / name}.log")


def _stop(programs: Programs) -> None:
    for program in programs.values():
        if program.poll() is None:
            program.send_signal(signal.SIGINT)
    deadline = monotonic() + STOP_SECONDS
    for program in programs.values():
        with suppress(subprocess.TimeoutExpired):
            program.wait(max(0.1, deadline - monotonic()))
        assert program.stdin is not None
        program.stdin.close()  # whatever it started is killed
        program.wait()
