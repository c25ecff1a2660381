"""How iterations follow each other by themselves: one run an iteration, by a sensor, or by the experiment's schedule.

Dagster's own declarative automation cannot carry this loop. Its conditions launch what is missing, and an iteration
that is repeated with another seed is there already; and a job is launched through its root assets, of which a later
iteration has none: `rollouts` reads `demonstrations`, which is made once.
"""

from collections.abc import Iterator

import dagster as dg

from agentprm_dagster.config import Experiment
from agentprm_dagster.iterations import FIRST, add_iterations
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.decisions import announce_again, wanted
from agentprm_dagster.stages.reconcile import UNFINISHED

ONCE = ("demonstrations", "initial_policy", "react_report")
"""Assets that later iterations do not need made again."""

SENSOR_SECONDS = 30

ITERATION_TAG = "agentprm/iteration"
"""On a run: which iteration of which experiment it makes, from which policy, at which attempt."""


def sensor(experiment: Experiment) -> dg.SensorDefinition:
    """While it is on, launches the next iteration as soon as the one before is decided."""

    @dg.sensor(
        name=f"{experiment.name}_automation",
        job_name=experiment.name,
        minimum_interval_seconds=SENSOR_SECONDS,
        description=f"While it is on, launches one iteration of {experiment.name} after the other, each as one run, "
        "until all that are planned are made or promotion stops it. A run whose stage failed waits for a person.",
    )
    def automation(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return next_run(context, experiment)

    return automation


def schedule(experiment: Experiment) -> dg.ScheduleDefinition:
    """At the times that the experiment names, launches its next iteration."""
    when = experiment.schedule
    assert when is not None

    @dg.schedule(
        name=f"{experiment.name}_schedule",
        job_name=experiment.name,
        cron_schedule=when.cron,
        execution_timezone=when.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if when.switched_on else dg.DefaultScheduleStatus.STOPPED,
        description=f"At {when.cron} ({when.timezone}) launches the next iteration of {experiment.name} as one run, "
        "until all that are planned are made or promotion stops it.",
    )
    def at_its_time(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return next_run(context, experiment)

    return at_its_time


def next_run(
    context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext, experiment: Experiment
) -> dg.RunRequest | dg.SkipReason:
    """The run that makes the next iteration, or why there is none to launch.

    Its key names the policy that the iteration begins from: neither the sensor nor the schedule launches one twice.
    """
    instance, name, store = context.instance, experiment.name, ArtifactsResource().store()
    for run in under_way(instance, name):
        return dg.SkipReason(f"run {run.run_id} of {name} is under way")
    next_one = wanted(store, name, experiment.iterations)
    if isinstance(next_one, str):
        return dg.SkipReason(next_one)
    if next_one.iteration > FIRST:
        announce_again(instance, store, name, next_one.iteration)
    add_iterations(instance, name, next_one.iteration)
    key = f"{name}/{next_one.iteration}/{next_one.attempt}/{_begins_from(store, name, next_one.iteration)}"
    for run in instance.get_runs(dg.RunsFilter(tags={ITERATION_TAG: key}), limit=1):
        return dg.SkipReason(
            f"iteration {next_one.iteration} of {name} was launched, and its run {run.run_id} ended as "
            f"{run.status.value}: see why, and launch it again from there"
        )
    assert context.repository_def is not None, "Dagster hands it to every sensor and schedule"
    assets = iteration_assets(context.repository_def.get_job(name), next_one.iteration)
    return dg.RunRequest(
        run_key=key, partition_key=str(next_one.iteration), tags={ITERATION_TAG: key}, asset_selection=assets
    )


def under_way(instance: dg.DagsterInstance, experiment: str) -> Iterator[dg.DagsterRun]:
    """The runs that are queued or going on and make something of an experiment, however they were launched."""
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        made = {key.path[0] for key in run.asset_selection or ()}
        if run.job_name == experiment or experiment in made:
            yield run


def iteration_assets(job: dg.JobDefinition, iteration: int) -> list[dg.AssetKey]:
    """Those of a job that an iteration makes: after the first, not what is made once."""
    keys = job.asset_layer.executable_asset_keys
    return sorted(key for key in keys if iteration == FIRST or key.path[-1] not in ONCE)


def _begins_from(store: ArtifactStore, experiment: str, iteration: int) -> str:
    """The policy that an iteration goes on from; the first one makes its own."""
    return "" if iteration == FIRST else store.announced(experiment, iteration).digest[:16]
