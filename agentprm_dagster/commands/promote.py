"""`agentprm promote`: a person's verdict on an iteration, in the place of the tests'."""

from uuid import uuid4

import dagster as dg
import typer

from agentprm_dagster.assembly import build_definitions
from agentprm_dagster.commands.instance import open_instance
from agentprm_dagster.commands.run import SILENT, failures, was_decided
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.provenance.owner import user_name
from agentprm_dagster.reports.promotion import Verdict
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.decisions import PROMOTION, current_decision
from agentprm_dagster.stages.reconcile import owner_tag


def decide(experiment: str, iteration: int, verdict: Verdict, why: str, who: str) -> None:
    """Makes `promotion` of an iteration with this verdict; exit code 1 where it cannot be made.

    Args:
        who: the name that is recorded; empty for the user who runs this.
    """
    job = build_definitions({experiment: load_experiment(experiment)}).resolve_job_def(experiment)
    key = dg.AssetKey([experiment, PROMOTION])
    config = {"verdict": verdict, "why": why, "who": who or user_name()}
    run_id = str(uuid4())
    result = job.execute_in_process(
        instance=open_instance(),
        run_id=run_id,
        tags=owner_tag(run_id),
        partition_key=str(iteration),
        asset_selection=[key],
        run_config={**SILENT, "ops": {PROMOTION: {"config": config}}},
        raise_on_error=False,
    )
    if not result.success and not was_decided(result):
        for line in failures(result):
            typer.secho(line, fg="red", err=True)
        raise typer.Exit(1)
    decision = current_decision(ArtifactsResource().store(), experiment, iteration)
    assert decision is not None
    typer.echo(f"{experiment}, iteration {iteration}: {decision.verdict} ({decision.words})")
