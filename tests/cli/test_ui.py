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
from threading import Event
from urllib.request import Request, urlopen

import dagster as dg
import psutil
import pytest

from agentprm_dagster.commands import ui
from agentprm_dagster.commands.ports import HOST, UiError, refuse_taken
from agentprm_dagster.commands.ui import serve
from chat_servers import free_port

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
from agentprm_dagster.commands.programs import running
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
for number in (signal.SIGCHLD, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)  # as some that start programs do, and these inherit it
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
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UiError, match=rf"port {port} is taken by process {os.getpid()} \(.+\): stop what listens"):
            refuse_taken(port)
    refuse_taken(port)


def test_one_port_for_two_is_refused_before_anything_is_started(home: Path) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UiError, match=f"Dagster and MLflow cannot both have port {port}"):
        serve(port, port)
    assert not home.exists()


def test_whom_it_waits_for_is_said_every_ten_seconds(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(ui, "monotonic", lambda: now)
    monkeypatch.setattr(ui, "sleep", sleep)
    monkeypatch.setattr(ui, "listening", lambda place: now > (26 if place == 5000 else 12))
    ui._await({"Dagster": 3000, "MLflow": 5000}, {})
    assert capsys.readouterr().out.splitlines() == [
        f"Waiting for Dagster and MLflow since 10 s; the logs are in {home / 'logs'}",
        f"Waiting for MLflow since 20 s; the logs are in {home / 'logs'}",
    ]


FOREGROUND = """
import signal
from agentprm_dagster.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
main()
"""
LAUNCH = """
mutation($of: ExecutionParams!) {
  launchPipelineExecution(executionParams: $of) { ... on LaunchRunSuccess { run { runId } } }
}
"""


def launch(port: int, job: str) -> str:
    """Launches a job's first iteration as the button does; the run's id."""
    selector = {"repositoryLocationName": "agentprm", "repositoryName": "__repository__", "jobName": job}
    first = {"tags": [{"key": "dagster/partition", "value": "1"}]}
    asked = {
        "query": LAUNCH,
        "variables": {"of": {"selector": selector, "mode": "default", "executionMetadata": first}},
    }
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"http://{HOST}:{port}/graphql", json.dumps(asked).encode(), headers)) as answer:
        return str(json.load(answer)["data"]["launchPipelineExecution"]["run"]["runId"])


def wait_for_a_stage(instance: dg.DagsterInstance, run_id: str) -> None:
    begun = Event()

    def see(entry: dg.EventLogEntry, cursor: str) -> None:
        if entry.dagster_event and entry.dagster_event.event_type == dg.DagsterEventType.STEP_START:
            begun.set()

    instance.watch_event_logs(run_id, None, see)
    assert begun.wait(300)
    instance.end_watch_event_logs(run_id, see)


def test_an_interrupt_cancels_the_run_under_way(home: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", FOREGROUND, "ui", "--dagster-port", str(port)]
    elsewhere = {**os.environ, "MLFLOW_TRACKING_URI": f"http://{HOST}:{free_port()}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=elsewhere) as process:
        assert process.stdout is not None
        page = next(line.split()[1] for line in process.stdout if line.startswith("Dagster"))
        assert page == f"http://{HOST}:{port}/locations/agentprm/asset-groups/quickstart/lineage"
        with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
            run_id = launch(port, "smoke")
            wait_for_a_stage(instance, run_id)
            process.send_signal(signal.SIGINT)
            assert f"Run {run_id} was cancelled" in process.stdout.read()
            assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.CANCELED
    assert process.returncode == 0
    assert list((home / "artifacts").glob(".work/drafts/*")) == []
