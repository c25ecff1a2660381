"""Runs that hold others: one an experiment, named as it, and below it one an iteration, named `iteration 2`.

The run of an experiment has what is drawn over iterations (`success/valid_unseen/greedy` at step 2), and below it stand
the runs that belong to no iteration, as `initial_policy`. They do no work, and last from their first run to their last.
"""

from typing import TYPE_CHECKING

from agentprm_dagster.home import mlflow_folder
from agentprm_dagster.provenance.manifest import Recipe
from agentprm_dagster.provenance.owner import user_name
from agentprm_dagster.tracking.pages import NOTE
from agentprm_dagster.tracking.uri import is_server

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
LEVEL = "level"
"""The tag that tells runs that hold others: `experiment` or `iteration`."""


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The MLflow experiment called so, made or brought back where a person has deleted it."""
    from mlflow import MlflowException

    where = None if is_server(client.tracking_uri) else (mlflow_folder() / "artifacts" / name).as_uri()
    try:
        return client.create_experiment(name, artifact_location=where)
    except MlflowException as error:
        found = client.get_experiment_by_name(name)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
            raise
        if found.lifecycle_stage == "deleted":  # its name stays taken
            client.restore_experiment(found.experiment_id)
        return found.experiment_id


def describe_experiment(client: "MlflowClient", name: str, description: str) -> None:
    """Has MLflow say what an experiment is, unless it says something already."""
    found = client.get_experiment(experiment_id(client, name))
    if NOTE not in found.tags:
        client.set_experiment_tag(found.experiment_id, NOTE, description)


def parent_of(client: "MlflowClient", where: str, recipe: Recipe, begun: int | None = None) -> str | None:
    """The id of the run that holds an attempt at a recipe, found or made; None where a person has deleted it.

    Args:
        where: the id of the MLflow experiment.
        begun: when a run that is made began, in ms since 1970; None for now.
    """
    top = _found_or_made(client, where, {LEVEL: "experiment"}, recipe.experiment, begun)
    if top is None or not recipe.iteration:
        return top
    tags = {LEVEL: "iteration", "iteration": str(recipe.iteration), PARENT: top}
    return _found_or_made(client, where, tags, f"iteration {recipe.iteration}", begun)


def _found_or_made(
    client: "MlflowClient", where: str, tags: dict[str, str], name: str, begun: int | None
) -> str | None:
    from mlflow.entities import ViewType

    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]  # should two machines have made one each
    for run in client.search_runs([where], wanted, ViewType.ALL, 1, order):
        return run.info.run_id if run.info.lifecycle_stage == "active" else None
    run = new_run(client, where, name, {**tags, "mlflow.user": user_name()}, begun)
    client.set_terminated(run.info.run_id, "FINISHED", begun)
    return run.info.run_id


def new_run(client: "MlflowClient", where: str, name: str, tags: dict[str, str], begun: int | None = None) -> "Run":
    """A new run, begun at `begun` (ms since 1970) or now; ValueError where what answers is no MLflow."""
    run = client.create_run(where, begun, tags, name)
    if not run.info.run_id:
        raise ValueError("expected the id of a new run, got an empty answer; is that an MLflow server?")
    return run


def end_run(client: "MlflowClient", run_id: str, status: str, ended: int | None = None) -> None:
    """Ends a run, and has those that hold it last as long."""
    client.set_terminated(run_id, status, ended)
    run = client.get_run(run_id)
    last = run.info.end_time or 0
    while parent := _parent(client, run):
        if (parent.info.end_time or 0) < last:
            client.set_terminated(parent.info.run_id, "FINISHED", last)
        run = parent


def top_of(client: "MlflowClient", run_id: str) -> str | None:
    """The id of the run of the experiment that a run belongs to; None where there is none."""
    run, top = client.get_run(run_id), None
    while parent := _parent(client, run):
        run, top = parent, parent.info.run_id
    return top


def _parent(client: "MlflowClient", run: "Run") -> "Run | None":
    """The run that holds another, unless a person has deleted it."""
    if not (parent := run.data.tags.get(PARENT)):
        return None
    found = client.get_run(parent)
    return found if found.info.lifecycle_stage == "active" else None
