"""Trains in several processes of this machine, which torchrun starts; what one of them tells is passed on."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from agentprm_dagster import guard
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.launch.cores import cores
from agentprm_dagster.launch.request import Request
from agentprm_dagster.launch.told import Listener, Trained, hear_error, hear_trained, told_folder

PROGRAM = "agentprm_dagster.training.run"
REQUEST = "request.json"
"""The request's file, in the folder of what is not done."""

_POLL_SECONDS = 0.2
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


class TrainingProcessError(RuntimeError):
    """One of the processes that train together failed."""


def write_request(request: Request) -> Path:
    """Puts a request's file into its folder of what is not done, where it stays until the stage is committed."""
    path = request.resume / REQUEST
    told = told_folder(path)
    shutil.rmtree(told, ignore_errors=True)  # an earlier attempt's
    told.mkdir(parents=True)
    path.write_text(request.model_dump_json(indent=1), encoding="utf-8")
    return path


def train_together(path: Path, processes: int, monitor: Monitor) -> Trained:
    """What came of the request in a file; all processes have ended when it returns, however it does.

    Raises:
        TrainingProcessError: one of them failed; with what it said.
    """
    told = told_folder(path)
    listener = Listener(told, monitor)
    with tempfile.TemporaryFile() as printed:
        process = guard.guarded(_command(path, processes), printed.fileno(), _environment(processes))
        try:
            while process.poll() is None:
                listener.pass_on()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
        finally:
            process.communicate()
        listener.pass_on()
        if process.returncode:
            words = hear_error(told) or f"exit code {process.returncode}; it printed:\n{guard.last_words(printed)}"
            raise TrainingProcessError(
                f"of {processes} processes that train together one failed, {words}\nThe request is {path}"
            )
    return hear_trained(told)


def _command(path: Path, processes: int) -> list[str]:
    launcher = ["torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    return [sys.executable, "-P", "-m", *launcher, "--nproc-per-node", str(processes), "-m", PROGRAM, str(path)]


def _environment(processes: int) -> dict[str, str]:
    """Modules are found where they are found here, and gradients are sent over the loopback."""
    return {
        "OMP_NUM_THREADS": str(max(cores() // processes, 1)),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONSAFEPATH": "1",
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
    }
