"""`agentprm ui`: Dagster's webserver and daemon and MLflow's UI, on this machine only, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from types import FrameType

from agentprm_dagster.commands.instance import open_instance
from agentprm_dagster.home import home
from agentprm_dagster.resources.mlflow_uri import is_server, tracking_uri

HOST = "127.0.0.1"
START_SECONDS = 180.0
STOP_SECONDS = 20.0
CODE_LOCATION = ("--module-name", "agentprm_dagster.definitions")


class UiError(Exception):
    """The user interfaces cannot be shown."""


def serve(dagster_port: int, mlflow_port: int) -> None:
    """Starts everything, prints the addresses, stops everything when interrupted or when a part ends.

    Raises:
        UiError: a port is taken, or a part ended by itself.
    """
    commands = {
        "dagster-webserver": ["dagster-webserver", *CODE_LOCATION, "--host", HOST, "--port", str(dagster_port)],
        "dagster-daemon": ["dagster-daemon", "run", *CODE_LOCATION],
    }
    ports = {"Dagster": dagster_port}
    if not is_server(tracking_uri()):
        # Not among its arguments, which every user of the machine can read: it may hold a password.
        os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri()
        commands["mlflow"] = ["mlflow", "server", "--workers", "1", "--host", HOST, "--port", str(mlflow_port)]
        ports["MLflow"] = mlflow_port
    for port in ports.values():
        refuse_taken(port)
    print("Starting; the first time this takes a minute.", flush=True)
    open_instance().dispose()
    with _interruptible(), running(commands) as processes:
        _await(ports, processes)
        for name, port in ports.items():
            print(f"{name:8} http://{HOST}:{port}", flush=True)
        print("Ctrl-C stops both, and any stage that runs in them; nothing committed is lost.", flush=True)
        while True:
            _refuse_ended(processes)
            sleep(1)


def refuse_taken(port: int) -> None:
    """UiError if something listens on a port already."""
    if listening(port):
        raise UiError(f"port {port} is taken: stop what listens there, or choose another (see `agentprm ui --help`)")


def listening(port: int) -> bool:
    """Whether something on this machine answers on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def running(commands: Mapping[str, list[str]]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Programs of this environment, each with a log under the home folder; stopped, children and all, at the end."""
    logs = home() / "logs"
    logs.mkdir(exist_ok=True)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, (program, *arguments) in commands.items():
            path = Path(sys.executable).with_name(program)
            with (logs / f"{name}.log").open("ab") as log:
                processes[name] = subprocess.Popen(
                    [path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
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
        try:
            process.wait(max(0.1, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
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
