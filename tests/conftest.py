"""A home of its own for every test that asks for one, and the toy experiment in it."""

import sys
from pathlib import Path

import dagster as dg
import pytest

from toy import toy_definitions, toy_trainers, write_toy


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty AGENTPRM_HOME."""
    monkeypatch.setenv("AGENTPRM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


@pytest.fixture
def toy(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The definitions of the toy experiment, which also the command line knows."""
    write_toy(tmp_path / "experiments")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path / "experiments"))
    for name, module in toy_trainers().items():
        monkeypatch.setitem(sys.modules, name, module)
    return toy_definitions()
