"""`agentprm experiments`, shell completion and the version."""

import json
import subprocess
import sys
from importlib.metadata import version
from os import environ
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agentprm_dagster import cli
from toy import write_toy


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def test_experiments_are_listed_with_what_they_are(home: Path) -> None:
    told = call("experiments", "list").stdout
    assert "Two iterations on generated games of medium size." in told
    assert json.loads(call("experiments", "list", "--json").stdout)["smoke"]["iterations"] == 3
    assert not home.exists()


def test_one_shows_what_it_changes(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path / "experiments")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path / "experiments"))
    told = call("experiments", "show", "toy").stdout
    assert "toy: A toy whose policies are numbers" in told
    (line,) = [line for line in told.splitlines() if "rollouts.per_game" in line]
    assert line.replace("│", "").split() == ["rollouts.per_game", "4", "2"]
    assert "rollouts.temperature" not in told
    assert json.loads(call("experiments", "show", "toy", "--json").stdout)["rollouts"]["temperature"] == 1.0


def test_two_show_in_what_they_differ(home: Path) -> None:
    found = json.loads(call("experiments", "diff", "paper_3b", "inverse_3b", "--json").stdout)
    assert found["improvement.reward"] == {"paper_3b": "prm", "inverse_3b": "inverse_prm"}
    assert "smoke and smoke have the same settings." in call("experiments", "diff", "smoke", "smoke").stdout


def test_the_version() -> None:
    assert call("--version").stdout == f"agentprm {version('agentprm_dagster')}\n"


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("agentprm report q", "quickstart"),
        ("agentprm compare smoke tex", "textworld"),
        ("agentprm lineage smoke mc_", "mc_value_targets"),
        ("agentprm run smoke --with ste", "steered"),
    ],
)
def test_the_shell_completes_names(typed: str, completed: str, home: Path) -> None:
    words = {"_AGENTPRM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'agentprm'; from agentprm_dagster.cli import main; main()",
    ]
    answered = subprocess.run(command, capture_output=True, text=True, env={**environ, **words})
    assert answered.stdout.split() == [completed]
