"""How far an experiment is: what is made, what runs, waits in Dagster's queue or has failed, what is not begun."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import dagster as dg
from dagster._core.execution.stats import StepEventStatus
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster_shared.error import SerializableErrorInfo

from agentprm_dagster.provenance.manifest import Manifest
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.stages.reconcile import UNDER_WAY, UNFINISHED, is_dead

NEWEST = 200
"""So many of the last runs are looked at."""

FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class Stage(NamedTuple):
    """One asset of one iteration."""

    asset: str
    iteration: int
    """0 where it has none."""


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    state: Literal["made", "running", "queued", "failed", "waiting"]
    run: str | None = None
    """The Dagster run that makes it, will make it, or failed to."""
    words: str = ""
    """How far a running one is; why it failed."""


def progress(
    store: ArtifactStore, instance: dg.DagsterInstance | None, experiment: str, stages: Iterable[Stage]
) -> dict[Stage, Progress]:
    """What the store and Dagster's records tell of an experiment's stages."""
    heads = {Stage(head.asset, head.iteration): store.root / head.place for head in store.heads(experiment)}
    stages = list(stages)
    told = dict(_of_runs(instance, experiment, stages)) if instance else {}
    return {
        stage: _together(told.get(stage), store.read(heads[stage]).manifest if stage in heads else None)
        for stage in stages
    }


def error_words(error: SerializableErrorInfo) -> str:
    """An error's own words, after its class without the modules it lies in; an interrupt has none."""
    kind, _, words = error.message.strip().partition(": ")
    if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
        return "interrupted by Ctrl-C or SIGTERM"
    return f"{kind.rpartition('.')[2]}: {words}"


def _together(told: Progress | None, made: Manifest | None) -> Progress:
    if made is None or (told and told.state in ("running", "failed")):
        return told or Progress("waiting")
    if made.failed:
        return Progress("failed", made.dagster_run_id, f"did not pass its gates: {made.failed}")
    return Progress("made", made.dagster_run_id)


def _of_runs(
    instance: dg.DagsterInstance, experiment: str, stages: list[Stage]
) -> Iterator[tuple[Stage, Progress | None]]:
    """What the newest run of every stage tells of it; None: nothing that the store does not tell."""
    seen: set[Stage] = set()
    for run in instance.get_runs(limit=NEWEST):
        assets = _assets(run, experiment)
        of_run = [each for each in stages if each.asset in assets and _is_of(run, each) and each not in seen]
        seen.update(of_run)
        if of_run and run.status in (*UNFINISHED, *FAILED):
            yield from zip(of_run, _of_run(instance, run, of_run), strict=True)


def _assets(run: dg.DagsterRun, experiment: str) -> set[str]:
    """The assets of an experiment that a run is to make."""
    if run.asset_selection:
        return {key.path[-1] for key in run.asset_selection if key.path[0] == experiment}
    return {_asset(key) for key in run.step_keys_to_execute or ()} if run.job_name == experiment else set()


def _asset(step: str) -> str:
    return step.rpartition("__")[2]


def _is_of(run: dg.DagsterRun, stage: Stage) -> bool:
    return stage.iteration == 0 or run.tags.get(PARTITION_NAME_TAG) == str(stage.iteration)


def _of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, stages: list[Stage]) -> Iterator[Progress | None]:
    if run.status not in (*UNDER_WAY, *FAILED):
        yield from [Progress("queued", run.run_id)] * len(stages)
        return
    ended = run.status in FAILED or is_dead(instance, run)
    begun = {_asset(each.step_key): each.status for each in instance.get_run_step_stats(run.run_id)}
    for stage in stages:
        status = begun.get(stage.asset)
        if status is StepEventStatus.FAILURE or (ended and status is StepEventStatus.IN_PROGRESS):
            yield Progress("failed", run.run_id, _why(instance, run, stage.asset))
        elif status is StepEventStatus.IN_PROGRESS:
            yield Progress("running", run.run_id, _how_far(instance, run, stage.asset))
        else:
            yield None if ended or status else Progress("queued", run.run_id)


def _why(instance: dg.DagsterInstance, run: dg.DagsterRun, asset: str) -> str:
    if run.status == dg.DagsterRunStatus.CANCELED:
        return "cancelled"
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.get_dagster_event()
        if _asset(event.step_key or "") == asset and (error := event.step_failure_data.error):
            return error_words(error.cause or error)
    return "its process is gone"


def _how_far(instance: dg.DagsterInstance, run: dg.DagsterRun, asset: str) -> str:
    """What it logged last."""
    for record in instance.get_records_for_run(run.run_id, limit=50, ascending=False).records:
        entry = record.event_log_entry
        if entry.dagster_event is None and _asset(entry.step_key or "") == asset:
            return entry.user_message
    return ""
