"""`agentprm ui`: Dagster and MLflow in the browser, on this machine only, until Ctrl-C."""

import os
import signal
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from types import FrameType

import yaml

from agentprm_dagster.commands.instance import open_instance
from agentprm_dagster.commands.ports import HOST, listening, refuse_ports
from agentprm_dagster.commands.programs import Programs, refuse_ended, running
from agentprm_dagster.config.catalog import chosen_compute, load_compute
from agentprm_dagster.home import home
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.chosen import chosen_experiments
from agentprm_dagster.stages.reconcile import cancel_runs, fail_dead_runs
from agentprm_dagster.tracking.uri import DAGSTER_URL, MLFLOW_URL, is_server, mlflow_page, tracking_uri

LOCATION = "agentprm"
BEGIN = f"locations/{LOCATION}/asset-groups/quickstart/lineage"
"""The page of Dagster to begin with."""
TELL_SECONDS = 10.0
CANCEL_SECONDS = 30.0


def serve(dagster_port: int, mlflow_port: int, *, in_browser: bool = False) -> None:
    """Starts everything, prints the addresses, stops everything when interrupted or when a part ends.

    One server of code holds the definitions for Dagster's webserver and daemon, and runs what they launch.

    Raises:
        UiError: a port is taken or asked for twice, or a part ended by itself.
        ExperimentError: AGENTPRM_COMPUTE names no compute that is valid.
    """
    load_compute(chosen_compute())
    ports, servers = {"Dagster": dagster_port}, {}
    if not is_server(tracking_uri()):
        # Not among its arguments, which every user of the machine can read: it may hold a password.
        os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri()
        ports["MLflow"] = mlflow_port
        servers["mlflow"] = ["mlflow", "server", "--workers", "1", "--host", HOST, "--port", str(mlflow_port)]
    refuse_ports(ports)
    for name, variable in (("Dagster", DAGSTER_URL), ("MLflow", MLFLOW_URL)):
        if name in ports:
            os.environ.setdefault(variable, f"http://{HOST}:{ports[name]}")
    print("Starting; the first time this takes a minute.", flush=True)
    for error in chosen_experiments(ArtifactsResource().store()).errors:
        print(f"An experiment is left out: {error}", flush=True)
    with _interruptible(), open_instance() as instance, TemporaryDirectory(prefix="agentprm-") as folder:
        code = Path(folder) / "code"
        try:
            with running({"code-server": _code_server(code), **servers}) as parts:
                _await({"definitions": code}, parts)
                with running(_dagster(code, dagster_port)) as users:
                    _show(ports, {**parts, **users}, in_browser=in_browser)
                # Interrupted by a person. Where a part ends by itself, its runs fail with the server of code instead,
                # and the daemon launches them again at the next start.
                for run in cancel_runs(instance, code, CANCEL_SECONDS):
                    print(f"Run {run} was cancelled; launched again, it goes on where it stopped.", flush=True)
        finally:
            fail_dead_runs(instance)


def _code_server(code: Path) -> list[str]:
    """Serves the definitions at a socket, anew whenever a person reloads them."""
    names = ["--module-name", "agentprm_dagster.definitions", "--location-name", LOCATION]
    return ["dagster", "code-server", "start", "--socket", str(code), *names, "--log-level", "warning"]


def _dagster(code: Path, port: int) -> dict[str, list[str]]:
    """The webserver and the daemon of the definitions that are served at a socket."""
    workspace = code.with_name("workspace.yaml")
    server = {"grpc_server": {"socket": str(code), "location_name": LOCATION}}
    workspace.write_text(yaml.safe_dump({"load_from": [server]}), encoding="utf-8")
    of_these = ["--workspace", str(workspace)]
    return {
        "dagster-webserver": ["dagster-webserver", *of_these, "--host", HOST, "--port", str(port)],
        "dagster-daemon": ["dagster-daemon", "run", *of_these],
    }


def _show(ports: Mapping[str, int], parts: Programs, *, in_browser: bool) -> None:
    """Prints the addresses once all answer, and goes on until a part ends."""
    _await(ports, parts)
    pages = {
        "Dagster": f"http://{HOST}:{ports['Dagster']}/{BEGIN}",
        "MLflow": mlflow_page(tracking_uri(), "experiments"),
    }
    for name, page in pages.items():
        print(f"{name:8} {page}", flush=True)
    print("Ctrl-C stops both and cancels the runs under way; nothing committed is lost.", flush=True)
    if in_browser:
        webbrowser.open(pages["Dagster"])
    while True:
        refuse_ended(parts)
        sleep(1)


def _await(places: Mapping[str, int | Path], parts: Programs) -> None:
    """Waits for all to answer, for as long as the parts live, and says every ten seconds what is waited for."""
    began = told = monotonic()
    while missing := [name for name, place in places.items() if not listening(place)]:
        refuse_ended(parts)
        if monotonic() - told >= TELL_SECONDS:
            told = monotonic()
            waiting = f"Waiting for {' and '.join(missing)} since {told - began:.0f} s"
            print(f"{waiting}; the logs are in {home() / 'logs'}", flush=True)
        sleep(0.5)


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
