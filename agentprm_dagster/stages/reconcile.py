"""Runs that Dagster believes are going on although their process is gone.

A local Dagster never notices a killed run: it stays as it was for ever. So a run is tagged with the process that
executes it: by `agentprm run` when it creates the run, else by the executor. Of a run that has no such tag yet its
first engine event names the process, by number alone; it is believed to live while any process here has that number.
No time of day is compared: clocks are set. A run of another machine or container is left alone while that runs.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG, HIDDEN_TAG_PREFIX

from agentprm_dagster.home import presence_folder
from agentprm_dagster.provenance.owner import Owner, is_running

if TYPE_CHECKING:  # what `dg.Executor` names and Dagster does not export
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.retries import RetryMode
    from dagster._core.execution.step_dependency_config import StepDependencyConfig

OWNER_TAG = f"{HIDDEN_TAG_PREFIX}agentprm/owner"
"""Not for people: Dagster's UI shows no tag with this prefix."""

UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]

UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED, *UNDER_WAY]


def owner_tag(run_id: str) -> dict[str, str]:
    """The tag that makes this process a run's owner. It names the run: re-executions copy their parent's tags."""
    return {OWNER_TAG: f"{run_id} {Owner.this_process(presence_folder()).to_json()}"}


class OwnedExecutor(dg.Executor):
    """An executor that first makes the process it runs in the run's owner."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        """See `dg.Executor`."""
        plan_context.instance.add_run_tags(plan_context.run_id, owner_tag(plan_context.run_id))
        yield from self._executor.execute(plan_context, execution_plan)

    @property
    def retries(self) -> "RetryMode":
        """See `dg.Executor`."""
        return self._executor.retries

    @property
    def step_dependency_config(self) -> "StepDependencyConfig":
        """See `dg.Executor`."""
        return self._executor.step_dependency_config


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Marks every dead run as failed; their ids."""
    dead = [run for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)) if is_dead(instance, run)]
    for run in dead:
        instance.report_run_failed(run, "The process of this run is gone; launch it again to go on where it stopped.")
    return [run.run_id for run in dead]


def cancel_runs(instance: dg.DagsterInstance, code: Path, seconds: float) -> list[str]:
    """Cancels the runs that the server of code at a socket has launched; the ids of those that end in so many seconds.

    Runs of others, as of `agentprm run` or of another machine with the same database, go on.
    """
    under_way = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
    of_it = [run.run_id for run in under_way if _launched_at(run) == str(code)]
    for run_id in of_it:
        with suppress(dg.DagsterError):  # the server is gone, and its runs with it
            instance.run_launcher.terminate(run_id)
    deadline, left = monotonic() + seconds, set(of_it)
    while left and monotonic() < deadline:
        left = {run.run_id for run in instance.get_runs(dg.RunsFilter(run_ids=of_it, statuses=UNDER_WAY))}
        sleep(0.2)
    return [run_id for run_id in of_it if run_id not in left]


def _launched_at(run: dg.DagsterRun) -> str | None:
    """The socket of the server of code that has launched a run."""
    return json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket")


def is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process of an unfinished run is gone."""
    owner = _owner(run)
    if owner is not None:
        return owner.state() == "dead"
    pid = _first_process(instance, run.run_id)
    return pid is not None and not is_running(pid)


def _owner(run: dg.DagsterRun) -> Owner | None:
    run_id, _, text = run.tags.get(OWNER_TAG, "").partition(" ")
    try:
        return Owner.from_json(text) if run_id == run.run_id else None
    except ValueError:  # a tag can be edited
        return None


def _first_process(instance: dg.DagsterInstance, run_id: str) -> int | None:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        pid = entry.get_dagster_event().engine_event_data.metadata.get("pid")
        if isinstance(pid, dg.TextMetadataValue) and pid.text:
            return int(pid.text)
    return None
