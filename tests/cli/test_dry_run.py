"""`agentprm run --dry-run`: what it says comes true, and it makes nothing."""

import json
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from agentprm_dagster import cli
from agentprm_dagster.resources.tracker import MlflowTracker
from bad_inputs import contents
from toy import toy_definitions


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def said(*arguments: object) -> dict[str, str]:
    """By stage and iteration, what the first experiment's run would do with it."""
    result = call("run", *arguments, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    stages = next(iter(json.loads(result.stdout).values()))
    return {f"{each['stage']}[{each['iteration']}]": each["outcome"] for each in stages}


@pytest.fixture
def played(toy: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line plays the toy, whose games are there; MLflow is left out."""
    monkeypatch.setattr(
        "agentprm_dagster.commands.run.build_definitions",
        lambda experiments, bound: toy_definitions(next(iter(experiments)), bound["stages"].compute),
    )
    monkeypatch.setattr(MlflowTracker, "reconcile", lambda self, store: [])


def test_what_it_says_comes_true(played: None, home: Path) -> None:
    fresh = said("toy", "--iterations", 2)
    assert fresh["demonstrations[0]"] == "made"
    assert {outcome for stage, outcome in fresh.items() if stage != "demonstrations[0]"} == {"follows"}
    assert call("run", "toy", "--iterations", 1).exit_code == 0
    before = dict(contents(home))

    half = said("toy", "--iterations", 2)
    new = {stage for stage, outcome in half.items() if outcome != "found"}
    assert new - {"promotion[2]", "results[0]"} == {
        "rollouts[2]", "mc_value_targets[2]", "prm[2]", "improved_policy[2]", "eval_report[2]",
    }  # fmt: skip
    assert new >= {"promotion[2]", "results[0]"}
    assert half["rollouts[2]"] == "made"
    assert dict(contents(home)) == before, "it changes nothing"

    composed = said("toy", "--iterations", 1, "--set", "prm.epochs=9")
    assert composed == {
        "demonstrations[0]": "adopted",
        "initial_policy[0]": "adopted",
        "rollouts[1]": "adopted",
        "mc_value_targets[1]": "adopted",
        "prm[1]": "made",
        "improved_policy[1]": "follows",
        "eval_report[1]": "follows",
        "promotion[1]": "follows",
        "results[0]": "follows",
    }
    ran = call("run", "toy", "--iterations", 2)
    assert "can look into" not in ran.output, "the games are for this user alone"
    assert ran.output.count("made before") == len(half) - len(new) + 1, "results of iteration 1 are found, too"


def test_where_a_run_would_fail_it_says_so(played: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("the games are gone")

    monkeypatch.setattr("agentprm_dagster.resources.tasks.TasksResource.train", fail)
    result = call("run", "toy", "--dry-run")
    assert result.exit_code == 1
    assert "demonstrations failed: RuntimeError: the games are gone" in result.output
