"""Everything that is made has one home, however the project is called."""

import subprocess
from pathlib import Path

import pytest

from agentprm_dagster.home import home

ROOT = Path(__file__).parents[1]


def test_the_home_is_the_users_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AGENTPRM_HOME", raising=False)
    assert home() == tmp_path / ".agentprm"
    monkeypatch.setenv("AGENTPRM_HOME", "~/other")
    assert home() == tmp_path / "other"


def test_make_names_no_home_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for inherited in ("AGENTPRM_HOME", "MAKEFLAGS"):
        monkeypatch.delenv(inherited, raising=False)
    command = ["make", "--silent", "--eval", 'told: ; @echo "$$AGENTPRM_HOME"', "told"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout == "\n"
