"""The component in another Dagster project, made by Dagster's own tool, through `dg` as its user calls it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEFS = """
type: agentprm_dagster.component.ExperimentComponent
attributes:
  experiment: smoke
  studies: [steered]
  settings: [iterations=3]
  seed: 2
"""
PLAIN = DEFS.partition("  studies")[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project with two experiments."""
    folder = tmp_path_factory.mktemp("others")
    answer = tool(folder, "create-dagster", "project", "theirs", "--no-uv-sync")
    assert answer.returncode == 0, answer.stderr
    for name, defs in (("rewards", DEFS), ("plain", PLAIN)):
        write(folder / "theirs", name, defs)
    return folder / "theirs"


def write(project: Path, name: str, defs: str) -> Path:
    """Adds a component; its folder."""
    folder = project / "src" / "theirs" / "defs" / name
    folder.mkdir()
    (folder / "defs.yaml").write_text(defs, encoding="utf-8")
    return folder


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


def test_an_asset_is_launched(project: Path) -> None:
    answer = tool(project, "dg", "launch", "--assets", "smoke/demonstrations")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (project / "home" / "artifacts" / "smoke" / "demonstrations" / "0").is_dir()
