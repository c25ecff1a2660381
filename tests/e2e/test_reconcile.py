"""Dagster does not notice a killed local run; `fail_dead_runs` does."""

import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from agentprm_dagster.reconcile import fail_dead_runs

KILLED = """
import os, signal, sys, dagster as dg

@dg.asset
def victim():
    os.kill(os.getpid(), signal.SIGKILL)

with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    dg.materialize([victim], instance=instance)
"""


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(tmp_path))


def test_a_killed_run_is_failed(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL
    (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.STARTED
    assert fail_dead_runs(instance) == [run.run_id]
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    assert fail_dead_runs(instance) == []


def test_a_living_run_is_left_alone(instance: dg.DagsterInstance) -> None:
    found = []

    @dg.asset
    def survivor() -> None:
        found.append(fail_dead_runs(instance))

    assert dg.materialize([survivor], instance=instance).success
    assert found == [[]]
