"""`agentprm ui`: Dagster's webserver and daemon and MLflow's UI, on this machine only, until Ctrl-C."""

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from types import FrameType

import psutil

from agentprm_dagster.commands.instance import open_instance
from agentprm_dagster.config.catalog import chosen_compute, load_compute
from agentprm_dagster.home import home, make_private
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.chosen import chosen_experiments
from agentprm_dagster.tracking.uri import is_server, mlflow_page, tracking_uri

HOST = "127.0.0.1"
START_SECONDS = 180.0
STOP_SECONDS = 20.0
CODE_LOCATION = ("--module-name", "agentprm_dagster.definitions")


class UiError(Exception):
    """The user interfaces cannot be shown."""


def serve(dagster_port: int, mlflow_port: int) -> None:
    """Starts everything, prints the addresses, stops everything when interrupted or when a part ends.

    Raises:
        UiError: a port is taken or asked for twice, or a part ended by itself.
        ExperimentError: AGENTPRM_COMPUTE names no compute that is valid.
    """
    load_compute(chosen_compute())
    commands = {
        "dagster-webserver": ["dagster-webserver", *CODE_LOCATION, "--host", HOST, "--port", str(dagster_port)],
        "dagster-daemon": ["dagster-daemon", "run", *CODE_LOCATION],
    }
    ports = {"Dagster": dagster_port}
    os.environ |= _known_to_both(dagster_port, mlflow_port)
    if not is_server(tracking_uri()):
        # Not among its arguments, which every user of the machine can read: it may hold a password.
        os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri()
        commands["mlflow"] = ["mlflow", "server", "--workers", "1", "--host", HOST, "--port", str(mlflow_port)]
        ports["MLflow"] = mlflow_port
    _refuse_ports(ports)
    print("Starting; the first time this takes a minute.", flush=True)
    for error in chosen_experiments(ArtifactsResource().store()).errors:
        print(f"An experiment is left out: {error}", flush=True)
    open_instance().dispose()
    with _interruptible(), running(commands) as processes:
        _await(ports, processes)
        print(f"Dagster  http://{HOST}:{dagster_port}", flush=True)
        print(f"MLflow   {mlflow_page(tracking_uri(), 'experiments')}", flush=True)
        print("Ctrl-C stops both, and any stage that runs in them; nothing committed is lost.", flush=True)
        while True:
            _refuse_ended(processes)
            sleep(1)


def _known_to_both(dagster_port: int, mlflow_port: int) -> dict[str, str]:
    """What links between Dagster and MLflow need, and what MLflow is not to do."""
    return {
        "AGENTPRM_DAGSTER_URL": f"http://{HOST}:{dagster_port}",
        "AGENTPRM_MLFLOW_URL": f"http://{HOST}:{mlflow_port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes, which nothing here uses
    }


def _refuse_ports(ports: Mapping[str, int]) -> None:
    """UiError for a port that two are to have, that something listens on, or that this user may not have."""
    for name, port in ports.items():
        others = [other for other in ports if other != name and ports[other] == port]
        if others:
            raise UiError(f"{name} and {others[0]} cannot both have port {port}: choose another for one of them")
        refuse_taken(port)


def refuse_taken(port: int) -> None:
    """UiError if a port of this machine cannot be had, with the process that has it where that can be seen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, or a port just left is refused
        try:
            probe.bind((HOST, port))
        except OSError as error:
            other = "choose another (see `agentprm ui --help`)"
            if error.errno != errno.EADDRINUSE:
                raise UiError(f"port {port} cannot be had: {error.strerror}; {other}") from error
            raise UiError(f"port {port} is taken{_by_whom(port)}: stop what listens there, or {other}") from error


def _by_whom(port: int) -> str:
    """` by process 12 (name)`; empty where the system does not tell."""
    with suppress(psutil.Error):  # other users' connections may be hidden
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.pid and found.laddr and found.laddr.port == port:
                return f" by process {found.pid} ({psutil.Process(found.pid).name()})"
    return ""


def listening(port: int) -> bool:
    """Whether something on this machine answers on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def running(commands: Mapping[str, list[str]]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Programs of this environment, each with a log under the home folder; stopped, children and all, at the end.

    They end, children and all, also when this process is killed.
    """
    logs = make_private(home() / "logs")
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, (program, *arguments) in commands.items():
            path = Path(sys.executable).with_name(program)
            with (logs / f"{name}.log").open("ab") as log:
                kept = [sys.executable, "-P", "-m", "agentprm_dagster.commands.kept", str(path), *arguments]
                processes[name] = subprocess.Popen(
                    kept, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                )
        yield processes
    except KeyboardInterrupt:
        print("Stopping.", flush=True)
    finally:
        _stop(processes)


def _stop(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = monotonic() + STOP_SECONDS
    for process in processes.values():
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - monotonic()))
        assert process.stdin is not None
        process.stdin.close()  # whatever it started is killed
        process.wait()


def _await(ports: Mapping[str, int], processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    deadline = monotonic() + START_SECONDS
    while not all(map(listening, ports.values())):
        _refuse_ended(processes)
        if monotonic() > deadline:
            raise UiError(f"no answer after {START_SECONDS:.0f} s; the logs are in {home() / 'logs'}")
        sleep(0.5)


def _refuse_ended(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            raise UiError(f"{name} ended with exit code {process.returncode}; see {home() / 'logs' / name}.log")


@contextmanager
def _interruptible() -> Iterator[None]:
    """A plain `kill` is answered like Ctrl-C, so that nothing is left running."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
