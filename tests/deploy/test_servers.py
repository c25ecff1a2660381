"""A deployment on the loopback: what the files in deploy/ say, with PostgreSQL, an object store and MLflow's login."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any
from urllib.request import Request, urlopen

import dagster as dg
import psutil
import pytest

from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.stages.launched_by import USER_HEADER, USER_TAG
from chat_servers import free_port
from deployed import FOLDER, unit_command, variables
from real_servers import HOST, PASSWORD, postgres_program, postgres_server, s3_server, started

pytestmark = pytest.mark.servers

ADMIN = {"MLFLOW_AUTH_ADMIN_PASSWORD": "admin-never-seen", "MLFLOW_FLASK_SERVER_SECRET_KEY": "key-never-seen"}
USERS = {"alice": "alice-never-seen", "bob": "bob-never-seen"}
SECRETS = (PASSWORD, "p%40ss", "never%20seen", "never-seen")
"""As they are, and as they stand in a URI."""


@dataclass(frozen=True)
class Deployment:
    """Servers that run."""

    folder: Path
    mlflow: str
    variables: Mapping[str, str]

    def told(self, user: str, **others: str) -> dict[str, str]:
        """The variables of a user with a home of their own, which is made where it is not there.

        Alice's password stands in a URI, bob's in a variable of MLflow's.
        """
        home = self.folder / user
        if not home.exists():
            (home / "dagster").mkdir(parents=True, mode=0o700)
            shutil.copy(FOLDER / "dagster.yaml", home / "dagster")
        login = {"MLFLOW_TRACKING_URI": f"http://{user}:{USERS[user]}@{self.mlflow.removeprefix('http://')}"}
        if user == "bob":
            login = {"MLFLOW_TRACKING_URI": self.mlflow, "MLFLOW_TRACKING_USERNAME": user}
            login |= {"MLFLOW_TRACKING_PASSWORD": USERS[user]}
        return {**self.variables, **login, "AGENTPRM_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), **others}

    def start(self, user: str, *command: str, **others: str) -> "subprocess.Popen[str]":
        """A program of this environment, as a user calls it."""
        program = str(Path(sys.executable).with_name(command[0]))
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([program, *command[1:]], env={**os.environ, **self.told(user, **others)}, **pipes)

    def call(self, user: str, *command: str, **others: str) -> str:
        """What it prints; it must succeed."""
        return ended(self.start(user, *command, **others))


def ended(process: "subprocess.Popen[str]") -> str:
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """PostgreSQL, the object store and MLflow, with two users."""
    folder, port = tmp_path_factory.mktemp("deployment"), str(free_port())
    url = f"http://{HOST}:{port}"
    with postgres_server() as libpq, s3_server(folder) as s3:
        given = {name: value for name, value in variables("agentprm.env").items() if "TRACKING" not in name}
        ours = {**given, **libpq, **s3}
        own = {**variables("mlflow.env"), **ADMIN, "MLFLOW_AUTH_CONFIG_PATH": str(FOLDER / "mlflow_auth.ini")}
        told = {**ours, **own, "MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:{port}"}
        with started(with_port(unit_command("mlflow"), port), told, folder / "mlflow.log", f"{url}/health"):
            for user, password in USERS.items():
                create = {"username": user, "password": password}
                asked(f"{url}/api/2.0/mlflow/users/create", create, ("admin", ADMIN["MLFLOW_AUTH_ADMIN_PASSWORD"]))
            yield Deployment(folder, url, ours)
    assert not found_secrets((folder / "mlflow.log").read_text())


@pytest.fixture
def as_bob(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The tests' own process is told what bob's are."""
    told = deployment.told("bob")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return told


def with_port(command: list[str], port: str) -> list[str]:
    where = command.index("--port") + 1
    return [*command[:where], port, *command[where + 1 :]]


def asked(url: str, question: object, login: tuple[str, str] | None = None, let_in: str = "") -> Any:
    """What a server answers to a question in JSON, of a user whom a proxy has let in where one is named."""
    headers = {"Content-Type": "application/json", USER_HEADER: let_in}
    if login:
        headers["Authorization"] = f"Basic {b64encode(':'.join(login).encode()).decode()}"
    body = json.dumps(question).encode()
    with urlopen(Request(url, body, headers)) as answer:
        return json.load(answer)


def found_secrets(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def arguments_of_all() -> str:
    """What every user of the machine can read of every process."""
    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return "\n".join(lines)


def test_two_users_share_what_is_made(deployment: Deployment, as_bob: dict[str, str]) -> None:
    smoke = ("agentprm", "run", "smoke", "--iterations", "1")
    both = [deployment.start("alice", *smoke), deployment.start("bob", *smoke, "--seeds", "1")]
    said = [*map(ended, both), deployment.call("bob", *smoke)]
    assert said[-1].count("made before") == 9
    assert "FileNotFoundError" not in said[-1], "what alice made is told to MLflow by bob too"
    said.append(deployment.call("alice", "agentprm", "doctor"))
    assert f"postgresql+psycopg2://agentprm:***@{HOST}:{as_bob['PGPORT']}/dagster" in said[-1]
    assert "s3://agentprm/artifacts can be read and written, and locks hold there" in said[-1]

    with dg.DagsterInstance.from_config(as_bob["DAGSTER_HOME"]) as instance:
        runs = instance.get_runs()
    assert [(run.status, run.tags[USER_TAG]) for run in runs] == [(dg.DagsterRunStatus.SUCCESS, getuser())] * 3
    assert not [*deployment.folder.rglob("runs.db")]
    api, bob = f"{deployment.mlflow}/api/2.0/mlflow", ("bob", USERS["bob"])
    experiments = asked(f"{api}/experiments/search", {"max_results": 10}, bob)["experiments"]
    assert {each["name"] for each in experiments} == {"Default", "smoke", "smoke__seed_1"}
    of_all = {"experiment_ids": [each["experiment_id"] for each in experiments]}
    found = asked(f"{api}/runs/search", of_all, bob)["runs"]
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in found]
    assert {each["mlflow.user"] for each in tags} == {getuser()}
    assert sum("digest" in each for each in tags) == 18, "a run an artifact, besides those that hold the others"

    from s3fs import S3FileSystem

    S3FileSystem().get("agentprm/artifacts", str(deployment.folder / "restored"), recursive=True)
    for store in (as_bob["AGENTPRM_STORE"], str(deployment.folder / "restored")):
        said.append(deployment.call("bob", "agentprm", "verify", AGENTPRM_STORE=store))
        assert f"18 versions checked in {store}, 0 problems" in said[-1]
    dumps = [[postgres_program("pg_dump"), database] for database in ("dagster", "mlflow")]
    said += [subprocess.check_output(command, text=True) for command in dumps]
    said += [path.read_bytes().decode("latin-1") for path in deployment.folder.rglob("*") if path.is_file()]
    assert not found_secrets("\n".join(said))


HOLD = """
import sys
from pathlib import Path
from agentprm_dagster.provenance.store import ArtifactStore
with ArtifactStore("s3://agentprm/leases", Path(sys.argv[1])).lock("smoke", "rollouts", 1):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lease_in_the_object_store_is_held_by_one(as_bob: dict[str, str], tmp_path: Path) -> None:
    store = ArtifactStore("s3://agentprm/leases", tmp_path / "mine")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "theirs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid}"):
            store.lock("smoke", "rollouts", 1).__enter__()
        holder.communicate("\n")
    with store.lock("smoke", "rollouts", 1):
        assert [place.name for place in (store.root / ".leases" / "smoke.rollouts.1").iterdir()][-1] == "000000000002"


LAUNCH = """
mutation($launched: ExecutionParams!) {
  launchRun(executionParams: $launched) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""
LOCATIONS = """
query { workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
  ... on RepositoryLocation { repositories { name } } ... on PythonError { message } } } } } }"""


@pytest.fixture
def pages(deployment: Deployment) -> Iterator[dict[str, str]]:
    """Dagster's services as their units start them, in bob's home; where the two webservers answer questions."""
    with TemporaryDirectory() as name, ExitStack() as running:  # a socket's path may not be long
        deployment.call("bob", *unit_command("code", "ExecStartPre"))
        pages = {}
        for unit in ("code", "webserver", "readonly", "daemon"):
            command, url = [word.replace("/run/agentprm", name) for word in unit_command(unit)], ""
            if "--port" in command:
                port = str(free_port())
                command, url = with_port(command, port), f"http://{HOST}:{port}"
                pages[unit] = f"{url}/graphql"
            log = deployment.folder / f"{unit}.log"
            running.enter_context(started(command, deployment.told("bob"), log, url))
        yield pages


def test_a_run_bears_the_name_of_who_launched_it_and_readers_launch_none(
    deployment: Deployment, as_bob: dict[str, str], pages: dict[str, str]
) -> None:
    tick, location = Event(), dict[str, Any]()
    while "repositories" not in location:
        answer = asked(pages["webserver"], {"query": LOCATIONS})["data"]["workspaceOrError"]["locationEntries"][0]
        location = answer["locationOrLoadError"] or {}
        tick.wait(0.5)
    where = {"repositoryLocationName": answer["name"], "repositoryName": location["repositories"][0]["name"]}
    selector = {**where, "jobName": "smoke", "assetSelection": [{"path": ["smoke", "demonstrations"]}]}
    question = {"query": LAUNCH, "variables": {"launched": {"selector": selector, "runConfigData": {}}}}
    refused = asked(pages["readonly"], question, let_in="carol")["data"]["launchRun"]
    assert refused["__typename"] == "UnauthorizedError"
    launched = asked(pages["webserver"], question, let_in="carol")["data"]["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    with dg.DagsterInstance.from_config(as_bob["DAGSTER_HOME"]) as instance:
        while not (run := instance.get_run_by_id(launched["run"]["runId"])) or not run.is_finished:
            assert not found_secrets(arguments_of_all())
            tick.wait(0.5)
    assert (run.status, run.tags[USER_TAG]) == (dg.DagsterRunStatus.SUCCESS, "carol")
    assert not found_secrets("\n".join(path.read_text() for path in deployment.folder.glob("*.log")))
