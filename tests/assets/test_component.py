"""The component in another Dagster project, made by Dagster's own tool, through `dg` as its user calls it."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import rmtree

import pytest

DEFS = """
type: agentprm_dagster.component.ExperimentComponent
attributes:
  experiment: smoke
  studies: [steered]
  settings: [iterations=3]
  seed: 2
---
type: agentprm_dagster.component.ExperimentComponent
attributes:
  experiment: smoke
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project with two experiments."""
    folder = tmp_path_factory.mktemp("others")
    answer = tool(folder, "create-dagster", "project", "theirs", "--no-uv-sync")
    assert answer.returncode == 0, answer.stderr
    defs = folder / "theirs" / "src" / "theirs" / "defs" / "rewards"
    defs.mkdir()
    (defs / "defs.yaml").write_text(DEFS, encoding="utf-8")
    return folder / "theirs"


def tool(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of this environment, in a folder, with homes below it."""
    (folder / "dagster").mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": "src",
        "DAGSTER_HOME": str(folder / "dagster"),
        "AGENTPRM_HOME": str(folder / "home"),
        "COLUMNS": "200",
    }
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_it_is_listed(project: Path) -> None:
    assert "agentprm_dagster.component.ExperimentComponent" in tool(project, "dg", "list", "components").stdout


def test_its_yaml_and_definitions_are_valid(project: Path) -> None:
    assert "All component YAML validated successfully" in tool(project, "dg", "check", "yaml").stdout
    checked = tool(project, "dg", "check", "defs")
    assert checked.returncode == 0, checked.stderr
    listed = tool(project, "dg", "list", "defs", "--json").stdout
    for key in ("smoke/prm", "smoke__steered__iterations_3__seed_2/prm"):
        assert f'"{key}"' in listed


def test_a_wrong_attribute_is_named_with_its_line(project: Path) -> None:
    wrong = project / "src" / "theirs" / "defs" / "wrong"
    wrong.mkdir()
    (wrong / "defs.yaml").write_text(DEFS.partition("---")[0].replace("studies", "study"), encoding="utf-8")
    answer = tool(project, "dg", "check", "yaml")
    rmtree(wrong)
    assert answer.returncode == 1
    assert "defs.yaml:5" in answer.stdout
    assert "('study' was unexpected)" in answer.stdout


def test_an_asset_is_launched(project: Path) -> None:
    answer = tool(project, "dg", "launch", "--assets", "smoke/demonstrations")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (project / "home" / "artifacts" / "smoke" / "demonstrations" / "0").is_dir()
