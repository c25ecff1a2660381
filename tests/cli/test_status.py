"""`agentprm status`: one experiment by stage, or all of them; it changes nothing."""

import json
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from agentprm_dagster import cli
from agentprm_dagster.commands.instance import open_instance
from agentprm_dagster.commands.run import run_iteration
from agentprm_dagster.resources.tracker import MlflowTracker
from bad_inputs import contents


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["status", *arguments])


def row(told: str, name: str) -> list[str]:
    (line,) = [line for line in told.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in line.split("│")[2:-1]]


def test_nothing_is_there(home: Path) -> None:
    assert row(call().stdout, "smoke") == ["", "", "", "", "21"]
    assert not home.exists()


def test_what_is_made_and_what_has_failed(toy: dg.Definitions, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowTracker, "reconcile", lambda self, store: [])

    def fail(*arguments: object, **settings: object) -> None:
        raise RuntimeError("the disk is full")

    with open_instance() as instance:
        assert run_iteration(toy, instance, "toy", 1).success
        monkeypatch.setattr("agentprm_dagster.targets.mc.compute", fail)
        assert not run_iteration(toy, instance, "toy", 2).success
    before = {name: each for name, each in contents(home) if name.startswith("artifacts")}
    told = call("toy").stdout
    assert row(told, "demonstrations") == ["yes", "", "", "", ""]
    assert row(told, "rollouts") == ["1 to 2", "", "", "", "3"]
    assert row(told, "mc_value_targets") == ["1", "", "", "2", "3"]
    assert row(told, "prm") == ["1", "", "", "", "2 to 3"]
    assert "mc_value_targets[2] failed: RuntimeError: the disk is full (run " in told
    assert row(call().stdout, "toy") == ["10", "", "", "1", "10"]
    stages = json.loads(call("toy", "--json").stdout)["toy"]
    assert {"asset", "iteration", "state", "run", "words"} == stages[0].keys()
    assert {name: each for name, each in contents(home) if name.startswith("artifacts")} == before
