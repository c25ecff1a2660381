"""Runs that Dagster believes are going on although their process is gone.

A local Dagster never notices a killed run: it stays STARTED for ever. Here a run counts as dead when the process that
its first engine event names no longer exists, or is another one that was given the same number later.
"""

from time import time

import dagster as dg
import psutil

UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]

STARTING_SECONDS = 120.0
"""A run that has named no process by then never will."""


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Marks every dead run as failed; their ids."""
    records = instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY))
    dead = [record.dagster_run for record in records if not _alive(instance, record)]
    for run in dead:
        instance.report_run_failed(run, "The process of this run is gone; launch it again to go on where it stopped.")
    return [run.run_id for run in dead]


def _alive(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    events = instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    for entry in events:
        pid = entry.get_dagster_event().engine_event_data.metadata.get("pid")
        if isinstance(pid, dg.TextMetadataValue) and pid.text:
            return _was_running(int(pid.text), entry.timestamp)
    return time() - record.create_timestamp.timestamp() < STARTING_SECONDS


def _was_running(pid: int, moment: float) -> bool:
    """Whether the process of that number, alive now, was already there at a moment (seconds since 1970)."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= moment
    except psutil.NoSuchProcess:
        return False
