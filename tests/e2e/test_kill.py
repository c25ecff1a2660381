"""`kill -9` in the middle of stages, and `agentprm run` again: the same artifacts, none torn."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from kills import RUN
from toy import write_toy

VICTIMS = ("initial_policy", "rollouts[1]", "eval_report[1]")
"""Stages that are killed once each, when all files are written and nothing is committed."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    write_toy(tmp_path / "experiments")
    tests = str(Path(__file__).parents[1])
    return {**os.environ, "AGENTPRM_EXPERIMENTS": str(tmp_path / "experiments"), "PYTHONPATH": tests}


def run(home: Path, environment: dict[str, str], *victims: str) -> int:
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-c", RUN, str(home), *victims]
    return subprocess.run(command, env={**environment, "AGENTPRM_HOME": str(home)}, capture_output=True).returncode


def digests(home: Path) -> dict[str, str]:
    return {str(made.version.partition): made.digest for made in ArtifactStore(home / "artifacts").artifacts()}


def test_killed_runs_end_where_an_undisturbed_one_does(environment: dict[str, str], tmp_path: Path) -> None:
    killed, calm = tmp_path / "killed", tmp_path / "calm"
    ends = [run(killed, environment, *VICTIMS) for _ in range(len(VICTIMS) + 1)]
    assert ends == [*[-signal.SIGKILL] * len(VICTIMS), 0]
    assert run(calm, environment) == 0
    assert digests(killed) == digests(calm)
    found = verify(ArtifactStore(killed / "artifacts"))
    assert found.sound
    assert found.leftovers == ()
