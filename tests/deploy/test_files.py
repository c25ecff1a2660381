"""What the files in deploy/ name is there: programs, options, modules, variables. Only the proxy is seen outside."""

import os
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import typer
import yaml
from dagster._cli import create_dagster_cli
from dagster._core.instance.config import PoolGranularity, dagster_instance_config
from dagster._daemon.cli import cli as dagster_daemon
from dagster_webserver.cli import dagster_webserver
from mlflow import cli as mlflow

from agentprm_dagster.cli import app
from agentprm_dagster.home import dagster_folder
from agentprm_dagster.stages.launched_by import USER_HEADER, NamingRunCoordinator
from deployed import COMPOSE, FOLDER, UNITS, unit, unit_command, variables
from pages import ROOT, prose

PROGRAMS = {
    "dagster": create_dagster_cli(),
    "dagster-daemon": dagster_daemon,
    "dagster-webserver": dagster_webserver,
    "mlflow": mlflow.cli,
    "agentprm": typer.main.get_command(app),
}
OTHERS = {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID",
          "AWS_SECRET_ACCESS_KEY", "DAGSTER_HOME"}  # fmt: skip
"""Variables of libpq's, boto's and Dagster's own."""
ENVIRONMENT = {**variables("agentprm.env"), **variables("mlflow.env")}
"""What MLflow's server is told, and with it whatever the others are told."""


def commands() -> Iterator[tuple[str, list[str]]]:
    """Everything of this environment that a unit or a container starts."""
    for name in UNITS:
        yield f"{name}.service", unit_command(name)
    yield "code.service", unit_command("code", "ExecStartPre")
    for name, service in COMPOSE["services"].items():
        if service["image"] == "agentprm":
            yield name, service["command"]
    yield "Dockerfile", yaml.safe_load(re.findall(r"^CMD (.*)", read("Dockerfile"), re.MULTILINE)[0])


def read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("where", "command"), [pytest.param(*each, id=each[0]) for each in commands()])
def test_commands_can_be_called(where: str, command: list[str]) -> None:
    program, *arguments = command
    if program in PROGRAMS:
        call: Any = PROGRAMS[program]
        while hasattr(call, "commands"):
            call, arguments = call.commands[arguments[0]], arguments[1:]
        call.make_context(call.name, arguments)  # refuses what is unknown or out of range
    else:
        assert program in ("sh", "python")
    assert all(map(find_spec, re.findall(r"agentprm_dagster[.\w]+", " ".join(command))))


def test_variables_are_read_by_somebody() -> None:
    by_options = {name for option in mlflow.server.params for name in [option.envvar] if isinstance(name, str)}
    by_mlflow = by_options | {*vars(import_module("mlflow.environment_variables"))}
    by_us = {path.read_text(encoding="utf-8") for path in (ROOT / "agentprm_dagster").glob("*.py")}
    for name in ENVIRONMENT:
        known = name in OTHERS or name in by_mlflow or any(f'"{name}"' in source for source in by_us)
        assert known, name


def test_containers_are_told_what_units_are_told_elsewhere() -> None:
    for name, service in COMPOSE["services"].items():
        if service["image"] == "agentprm":
            assert service["environment"].keys() <= ENVIRONMENT.keys(), name
    asked = re.findall(r"\$\{(\w+):\?\}", read("compose.yaml"))
    assert {*asked} <= variables("agentprm.env").keys()


def test_no_password_stands_in_a_file() -> None:
    secret = {name: value for name, value in ENVIRONMENT.items() if re.search("PASSWORD|SECRET", name)}
    assert len(secret) == 5
    assert not any(secret.values())
    assert not re.search(r"://[^/\s]*:[^/\s]*@", "".join(path.read_text() for path in FOLDER.glob("*.*")))


@pytest.fixture
def instance(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance with the settings of deploy/, but for the database."""
    settings = yaml.safe_load(read("dagster.yaml"))
    del settings["storage"]
    (home / "dagster").mkdir(parents=True)
    (home / "dagster/dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        yield instance


def test_dagsters_settings_are_the_usual_ones_with_a_database_and_who_launches(home: Path) -> None:
    deployed = yaml.safe_load(read("dagster.yaml"))
    usual = yaml.safe_load((dagster_folder() / "dagster.yaml").read_text(encoding="utf-8"))
    dagster_instance_config(str(FOLDER))  # refuses what is not a setting
    named = [each["env"] for each in deployed.pop("storage")["postgres"]["postgres_db"].values() if "env" in each]
    assert {*named} <= variables("agentprm.env").keys()
    assert deployed.pop("run_coordinator").keys() == {"module", "class"}
    assert deployed == usual


def test_the_queue_that_names_users_keeps_to_the_settings(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, NamingRunCoordinator)
    pools = instance.get_concurrency_config().pool_config
    assert (pools.default_pool_limit, pools.pool_granularity) == (1, PoolGranularity.RUN)


def test_what_is_launched_on_the_page_bears_the_users_name() -> None:
    assert f"proxy_set_header {USER_HEADER} $remote_user;" in read("nginx.conf")


def test_only_the_proxy_is_seen_outside() -> None:
    for name in UNITS:
        command = unit_command(name)
        hosts = [command[i + 1] for i, word in enumerate(command) if word == "--host"]
        assert hosts == (["127.0.0.1"] if "--port" in command else [])
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
    assert "ports" not in COMPOSE["services"]["code"], "whoever reaches it runs code"


def test_the_proxys_servers_are_those_of_the_units() -> None:
    ports = {command[command.index("--port") + 1] for name in UNITS if "--port" in (command := unit_command(name))}
    assert {*re.findall(r"127\.0\.0\.1:(\d+)", read("nginx.conf"))} == ports


def test_units_take_their_variables_from_files_that_are_there() -> None:
    for name in UNITS:
        files = [Path(file) for file in unit(name)["EnvironmentFile"]]
        assert all((FOLDER / file.name).is_file() and str(file.parent) == "/etc/agentprm" for file in files)
        assert unit(name)["User"] == ["agentprm"]
    home = f"/var/lib/{unit('code')['StateDirectory'][0]}"
    assert (ENVIRONMENT["AGENTPRM_HOME"], ENVIRONMENT["DAGSTER_HOME"]) == (home, f"{home}/dagster")


def test_the_image_copies_what_is_there_and_runs_as_a_user() -> None:
    lines = read("Dockerfile").splitlines()
    copied = [words for line in lines if (words := line.split())[:1] == ["COPY"] and "--from=build" not in words]
    assert all((ROOT / name).exists() for words in copied for name in words[1:-1] if not name.startswith("--"))
    assert lines[-1].startswith("CMD")
    assert "USER agentprm" in lines
    extras = re.findall(r"\[([a-z0-9,]+)\]", read("Dockerfile"))[0].split(",")
    assert {*extras} <= {*re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)}


def test_every_file_is_described() -> None:
    page = prose(ROOT / "docs" / "deploy.md")
    files = [path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*")]
    assert [name for name in files if f"deploy/{name}" not in page and "systemd" not in name] == []
    assert os.access(FOLDER / "systemd", os.R_OK)
