"""`agentprm ui`: what it starts ends with it, however it ends; ports that it cannot have are refused at once."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from agentprm_dagster.commands import ui
from agentprm_dagster.commands.ui import UiError, refuse_taken, serve

PROGRAM = """
import json, os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
start = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=2).pid)"
near, far = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)
orphan = subprocess.check_output([sys.executable, "-c", start, *sleep])
with open(sys.argv[1], "w") as file:
    json.dump([os.getpid(), near.pid, far.pid, int(orphan)], file)
time.sleep(600)
"""
UI = """
import os, signal, sys, time
from agentprm_dagster.commands.ui import running
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
with running({"program": ["python", "-c", sys.argv[2], sys.argv[1]]}) as processes:
    with open(sys.argv[1]) as pids:
        print(pids.read(), flush=True)
    while processes["program"].poll() is None:
        time.sleep(0.05)
print("ended with", processes["program"].returncode, flush=True)
"""


@contextmanager
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A process that runs a program, and the program with its children, near and far."""
    pipe = tmp_path / "pids"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", UI, str(pipe), PROGRAM]
    environment = {**os.environ, "AGENTPRM_HOME": str(tmp_path / "home")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process, [psutil.Process(pid) for pid in json.loads(process.stdout.readline())]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_everything_ends_with_it(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as (process, started):
        assert len(started) == 4
        process.send_signal(number)
    gone, alive = psutil.wait_procs(started, timeout=60)
    assert (len(gone), alive) == (4, [])


def test_a_program_that_ends_takes_along_what_it_started(tmp_path: Path) -> None:
    with running(tmp_path) as (process, started):
        started[0].terminate()
        assert process.stdout is not None
        assert process.stdout.read() == f"ended with {128 + signal.SIGTERM}\n"
    assert psutil.wait_procs(started, timeout=60)[1] == []


def test_a_port_that_is_taken_is_refused_with_who_has_it() -> None:
    with socket.create_server((ui.HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UiError, match=rf"port {port} is taken by process {os.getpid()} \(.+\): stop what listens"):
            refuse_taken(port)
    refuse_taken(port)


def test_one_port_for_two_is_refused_before_anything_is_started(home: Path) -> None:
    with socket.create_server((ui.HOST, 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UiError, match=f"Dagster and MLflow cannot both have port {port}"):
        serve(port, port)
    assert not home.exists()
