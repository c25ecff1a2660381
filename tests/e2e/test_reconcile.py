"""Dagster does not notice a killed local run; `fail_dead_runs` does."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import dagster as dg
import psutil
import pytest

import agentprm_dagster.definitions  # noqa: F401  # as every process does that Dagster starts
from agentprm_dagster.commands.run import run_iteration
from agentprm_dagster.iterations import ITERATIONS
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.stages.reconcile import OWNER_TAG, UNFINISHED, OwnedExecutor, fail_dead_runs, owner_tag


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """One for all: it takes seconds to make. A test's own run is the newest one."""
    folder = tmp_path_factory.mktemp("dagster")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.local_temp(str(folder)) as instance:
        patch.setenv("AGENTPRM_HOME", str(folder))
        instance.add_dynamic_partitions("iteration", ["1"])
        yield instance


def definitions(work: Callable[[], None]) -> dg.Definitions:
    """One asset that does `work`, and its job."""

    @dg.asset(key_prefix="tiny", group_name="tiny", partitions_def=ITERATIONS)
    def made() -> None:
        work()

    return dg.Definitions([made], jobs=[dg.define_asset_job("tiny", dg.AssetSelection.groups("tiny"))])


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> None:
    """Runs in a child what ends with the child's death."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("before", "status"),
    [(0, "NOT_STARTED"), (2, "STARTED"), (None, "STARTED")],
)
def test_a_run_is_failed_wherever_it_was_killed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, before: int | None, status: str
) -> None:
    """Before its n-th event is kept, or within the stage (None)."""

    def run() -> None:
        store_event, kept = instance.event_log_storage.store_event, 0

        def store_and_count(event: dg.EventLogEntry) -> None:
            nonlocal kept
            if kept == before:
                kill_this_process()
            kept += 1
            store_event(event)

        monkeypatch.setattr(instance.event_log_storage, "store_event", store_and_count)
        run_iteration(definitions(kill_this_process), instance, "tiny", 1)

    killed(run)
    (found,) = instance.get_runs(limit=1)
    assert found.status.value == status
    assert fail_dead_runs(instance) == [found.run_id]
    assert instance.get_run_by_id(found.run_id).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    assert fail_dead_runs(instance) == []


def test_a_living_run_is_left_alone_though_the_clock_is_set(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def look() -> None:
        monkeypatch.setattr("psutil._psplatform.boot_time", lambda: psutil.boot_time() + 3600)
        monkeypatch.setattr("time.time", lambda: 0.0)
        found.append(fail_dead_runs(instance))
        monkeypatch.undo()

    assert run_iteration(definitions(look), instance, "tiny", 1).success
    assert found == [[]]


def created(instance: dg.DagsterInstance, owner: Owner | None, status: dg.DagsterRunStatus, run_id: str = "") -> str:
    """A run of this status; the tag of its owner names it, or `run_id`."""
    number = str(uuid4())
    tags = {OWNER_TAG: f"{run_id or number} {owner.to_json()}"} if owner else {}
    instance.add_run(dg.DagsterRun("tiny", number, status=status, tags=tags))
    return number


def test_the_owner_decides_in_every_status(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    me = Owner.this_process()
    dead, unseen = replace(me, started="0"), replace(me, namespace="another")
    (tmp_path / "deserted").touch()
    restarted = replace(unseen, presence=str(tmp_path / "deserted"))
    living = [created(instance, owner, dg.DagsterRunStatus.STARTED) for owner in (me, unseen, None)]
    living.append(created(instance, dead, dg.DagsterRunStatus.STARTED, run_id="that of the run that this one repeats"))
    living.append(created(instance, dead, dg.DagsterRunStatus.SUCCESS))
    unfinished = [status for status in UNFINISHED if status != dg.DagsterRunStatus.QUEUED]  # the daemon's to make
    expected = {created(instance, dead, status) for status in unfinished}
    expected.add(created(instance, restarted, dg.DagsterRunStatus.STARTED))
    assert set(fail_dead_runs(instance)) == expected
    assert not expected & set(living)


def test_a_tag_that_was_edited_says_nothing(instance: dg.DagsterInstance) -> None:
    run_id = created(instance, None, dg.DagsterRunStatus.STARTED)
    instance.add_run_tags(run_id, {OWNER_TAG: f"{run_id} nonsense"})
    assert fail_dead_runs(instance) == []


def test_a_run_that_names_only_a_number_is_failed_when_nobody_has_it(instance: dg.DagsterInstance) -> None:
    job = definitions(kill_this_process).resolve_job_def("tiny")
    killed(lambda: job.execute_in_process(instance=instance, partition_key="1"))
    (run,) = instance.get_runs(limit=1)
    assert OWNER_TAG not in run.tags
    assert fail_dead_runs(instance) == [run.run_id]


@dg.executor(name="owned", config_schema=dg.in_process_executor.config_schema.as_field())
def owned(context: dg.InitExecutorContext) -> dg.Executor:
    return OwnedExecutor(dg.in_process_executor.executor_creation_fn(context))  # type: ignore[misc]


@dg.job(executor_def=owned.configured({"retries": {"enabled": {}}}))
def with_an_executor() -> None:
    @dg.op
    def read_tags(context: dg.OpExecutionContext) -> None:
        run = context.instance.get_run_by_id(context.run_id)
        assert run is not None
        assert run.tags[OWNER_TAG] == owner_tag(context.run_id)[OWNER_TAG]

    read_tags()


def test_the_executor_names_the_process_before_the_first_step(instance: dg.DagsterInstance) -> None:
    job = dg.reconstructable(with_an_executor)
    assert dg.execute_job(job, instance).success
    assert [run.tags[OWNER_TAG] for run in instance.get_runs(limit=1)]


@contextmanager
def in_another_container(home: str) -> Iterator[subprocess.Popen[str]]:
    """A run of the instance in a process-id namespace of its own, in the middle of its stage."""
    script = """
import os, sys
sys.path.insert(0, sys.argv[1])
import dagster as dg
from agentprm_dagster.commands.run import run_iteration
from e2e.test_reconcile import definitions
def wait():
    print("running", flush=True)
    sys.stdin.read()
with dg.DagsterInstance.local_temp(sys.argv[2]) as instance:
    run_iteration(definitions(wait), instance, "tiny", 1)
"""
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no process-id namespaces can be made here")
    command = [*unshare, sys.executable, "-c", script, str(Path(__file__).parents[1]), home]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        yield process
        process.kill()


def test_a_run_in_another_container_is_left_alone_until_that_has_ended(instance: dg.DagsterInstance) -> None:
    with in_another_container(instance.root_directory) as process:
        (run,) = instance.get_runs(limit=1)
        assert fail_dead_runs(instance) == []
        (inside,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(inside), signal.SIGKILL)
        process.wait()
        assert fail_dead_runs(instance) == [run.run_id]


def test_dagster_waits_for_its_databases(instance: dg.DagsterInstance) -> None:
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 600_000
