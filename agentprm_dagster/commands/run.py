"""`agentprm run`: the assets of an experiment, iteration after iteration, in this process."""

from collections.abc import Iterator, Sequence
from uuid import uuid4

import dagster as dg
import typer
from rich.console import Console

from agentprm_dagster.assembly import build_definitions, resources
from agentprm_dagster.automation import iteration_assets
from agentprm_dagster.commands.instance import open_instance
from agentprm_dagster.commands.report import print_report
from agentprm_dagster.config.catalog import chosen_compute, load_compute, load_experiment
from agentprm_dagster.config.together import refuse_together
from agentprm_dagster.iterations import FIRST, add_iterations
from agentprm_dagster.provenance.owner import user_name
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.available import require
from agentprm_dagster.stages.base_models import require_exact_base
from agentprm_dagster.stages.decisions import PROMOTION, announce_again, current_decision
from agentprm_dagster.stages.launched_by import USER_TAG
from agentprm_dagster.stages.monitor import progress_bars
from agentprm_dagster.stages.progress import error_words
from agentprm_dagster.stages.reconcile import owner_tag

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
    last, iteration = iterations or experiment.iterations, FIRST
    while iteration <= last:
        console.rule(f"{name}, iteration {iteration}")
        result = run_iteration(definitions, instance, name, iteration)
        if not result.success and not was_decided(result):
            for line in failures(result):
                typer.secho(line, fg="red", err=True)
            console.print(f"Run {result.run_id} has the details: see it with `agentprm ui`. The same command goes on.")
            raise typer.Exit(1)
        decision = current_decision(ArtifactsResource().store(), name, iteration)
        assert decision is not None, "an iteration ends with its promotion"
        if decision.verdict == "repeat":
            typer.secho(f"iteration {iteration} is tried again: {decision.words}", fg="yellow", err=True)
            continue
        if decision.verdict == "stop" or (not decision.goes_on and iteration < last):
            why = decision.words if decision.verdict == "stop" else "the hours are used up (promotion.max_hours)"
            typer.secho(f"{name} stops at iteration {iteration}: {why}", fg="yellow", err=True)
            return
        iteration += 1


def run_iteration(
    definitions: dg.Definitions, instance: dg.DagsterInstance, name: str, iteration: int
) -> dg.ExecuteInProcessResult:
    """One iteration of an experiment as one Dagster run."""
    if iteration > FIRST:
        announce_again(instance, ArtifactsResource().store(), name, iteration)
    add_iterations(instance, name, iteration)
    job = definitions.resolve_job_def(name)
    run_id = str(uuid4())
    with progress_bars():
        return job.execute_in_process(
            instance=instance,
            run_id=run_id,
            tags={**owner_tag(run_id), USER_TAG: user_name()},
            partition_key=str(iteration),
            asset_selection=iteration_assets(job, iteration),
            run_config=SILENT,
            raise_on_error=False,
        )


def was_decided(result: dg.ExecuteInProcessResult) -> bool:
    """Whether nothing failed but the gate of `promotion`, which only a promoted policy passes."""
    failed = [(event.step_key or "").rpartition("__")[2] for event in result.get_step_failure_events()]
    return failed == [PROMOTION] and any(not check.passed for check in result.get_asset_check_evaluations())


def failures(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """What went wrong, in the words of the gates that stopped it or of the errors."""
    gates = [
        check
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]
    for check in gates:
        yield f"{check.asset_key.path[-1]} did not pass its gate {check.check_name}: {check.description}"
    stopped = {check.asset_key.path[-1] for check in gates}
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        name = (event.step_key or "").split("__")[-1]
        if error and name not in stopped:
            yield f"{name} failed: {error_words(error.cause or error)}"
