"""Importing alfworld leaves the disk and the environment as they are."""

import subprocess
import sys
from os import environ
from pathlib import Path

import pytest

CODE = """
import os
from agentprm_dagster.envs.alfworld.generate_rules import can_contain
from agentprm_dagster.envs.alfworld.handcoded_agent import make_agent
make_agent(5, True)
assert "Mug" in can_contain("Shelf")
print(os.environ.get("ALFWORLD_DATA"))
"""


@pytest.mark.parametrize("named", [None, "", "{here}/nowhere", "{here}/file", "{here}/file/below"])
def test_the_data_folder_is_not_made(named: str | None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    value = None if named is None else named.format(here=tmp_path)
    others = {name: kept for name, kept in environ.items() if name != "ALFWORLD_DATA"}
    env = {**others, "HOME": str(tmp_path), **({} if value is None else {"ALFWORLD_DATA": value})}
    ran = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{value}\n"
    assert [path.name for path in tmp_path.rglob("*") if "alfworld" in str(path) or "nowhere" in str(path)] == []
