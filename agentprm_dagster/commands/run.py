"""`agentprm run`: the assets of an experiment, iteration after iteration, in this process."""

from collections.abc import Iterator, Sequence
from uuid import uuid4

import dagster as dg
import typer
from rich.console import Console

from agentprm_dagster.commands.instance import open_instance
from agentprm_dagster.commands.report import print_report
from agentprm_dagster.config.catalog import chosen_compute, load_compute, load_experiment
from agentprm_dagster.config.together import refuse_together
from agentprm_dagster.definitions import build_definitions, resources
from agentprm_dagster.iterations import FIRST, ITERATION, announce
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.available import require
from agentprm_dagster.stages.base_models import require_exact_base
from agentprm_dagster.stages.monitor import progress_bars
from agentprm_dagster.stages.progress import error_words
from agentprm_dagster.stages.reconcile import owner_tag

ONCE = ("demonstrations", "initial_policy", "react_report")
"""Stages that later iterations do not need made again."""

SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster keeps its log in the instance; the terminal shows bars instead."""

console = Console(stderr=True)


def run_experiments(names: Sequence[str], iterations: int | None, compute: str = "", *, as_json: bool = False) -> None:
    """Makes what is not there yet of one experiment after the other; prints the table of the first, and over seeds."""
    for name in names:
        run_experiment(name, iterations, compute)
    print_report(names[0], as_json=as_json)


def run_experiment(name: str, iterations: int | None, compute: str = "") -> None:
    """Makes what is not there yet; exit code 1 where a stage failed.

    `compute` is a name or the path of a file; empty: AGENTPRM_COMPUTE's. What this machine lacks of it, what
    of it does not go with the experiment, and a pretrained model that cannot be used, are refused before anything is
    made.
    """
    experiment = load_experiment(name)
    computed_by = load_compute(compute or chosen_compute())
    require(computed_by)
    refuse_together(experiment, computed_by)
    require_exact_base(experiment.model, experiment.wording, experiment.dialogue.format)
    definitions = build_definitions({name: experiment}, resources(compute))
    instance = open_instance()
    for iteration in range(FIRST, (iterations or experiment.iterations) + 1):
        console.rule(f"{name}, iteration {iteration}")
        result = run_iteration(definitions, instance, name, iteration)
        if not result.success:
            for line in failures(result):
                typer.secho(line, fg="red", err=True)
            console.print(f"Run {result.run_id} has the details: see it with `agentprm ui`. The same command goes on.")
            raise typer.Exit(1)


def run_iteration(
    definitions: dg.Definitions, instance: dg.DagsterInstance, name: str, iteration: int
) -> dg.ExecuteInProcessResult:
    """One iteration of an experiment as one Dagster run."""
    if iteration > FIRST:
        _announce(instance, name, iteration)
    job = definitions.resolve_job_def(name)
    run_id = str(uuid4())
    with progress_bars():
        return job.execute_in_process(
            instance=instance,
            run_id=run_id,
            tags=owner_tag(run_id),
            partition_key=str(iteration),
            asset_selection=keys_of(job, iteration),
            run_config=SILENT,
            raise_on_error=False,
        )


def keys_of(job: dg.JobDefinition, iteration: int) -> list[dg.AssetKey]:
    """The assets that a run of an iteration makes."""
    return [key for key in job.asset_layer.executable_asset_keys if iteration == FIRST or key.path[-1] not in ONCE]


def failures(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """What went wrong, in the words of the gates that stopped it or of the errors."""
    gates = [check for check in result.get_asset_check_evaluations() if not check.passed]
    for check in gates:
        yield f"{check.asset_key.path[-1]} did not pass its gate {check.check_name}: {check.description}"
    stopped = {check.asset_key.path[-1] for check in gates}
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        name = (event.step_key or "").split("__")[-1]
        if error and name not in stopped:
            yield f"{name} failed: {error_words(error.cause or error)}"


def _announce(instance: dg.DagsterInstance, name: str, iteration: int) -> None:
    """The last iteration that an experiment plans announces no policy for another, and a Dagster instance may be
    younger than the store: the current policy is announced here, unless it is already.
    """
    store = ArtifactsResource().store()
    policy = store.current(name, "improved_policy", iteration - 1)
    announced = store.announcements(name, iteration)
    is_partition = instance.has_dynamic_partition(ITERATION, str(iteration))
    if not is_partition or not announced or announced[-1].policy.version != policy.version:
        announce(instance, store, name, iteration, policy, instance.report_runless_asset_event)
