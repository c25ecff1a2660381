"""The persistent Dagster instance under the home folder, ready to be used.

    python -m agentprm_dagster.commands.instance

makes it ready and ends, for services that are started without `agentprm ui` (docs/deploy.md).
"""

from os import environ
from pathlib import Path

import dagster as dg
import typer
from dagster._core.storage.runs import SqlRunStorage

from agentprm_dagster.home import dagster_folder, exposed, games_scratch_folder, write_privately
from agentprm_dagster.iterations import FIRST, add_iterations
from agentprm_dagster.provenance.lock import sweep_folders
from agentprm_dagster.provenance.verify import sweep
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import MlflowTracker
from agentprm_dagster.stages.chosen import chosen_experiments
from agentprm_dagster.stages.databases import wait_for_locked_databases
from agentprm_dagster.stages.reconcile import fail_dead_runs


class InstanceError(RuntimeError):
    """Dagster's settings or records cannot be read."""


def open_instance() -> dg.DagsterInstance:
    """The instance, with the first iteration there and what killed processes left put in order.

    What this process, and those that it starts, write from now on is for this user alone. A DAGSTER_HOME of the user's
    is not used, which is said: what belongs together stays under one home folder.

    Raises:
        InstanceError: Dagster cannot read its own folder.
    """
    write_privately()
    wait_for_locked_databases()
    _warn_of_exposure()
    _use(dagster_folder())
    instance = _opened()
    fail_dead_runs(instance)
    store = ArtifactsResource().store()
    for name in chosen_experiments(store).experiments:
        add_iterations(instance, name, FIRST, *store.announced_iterations(name))
    sweep(store)
    sweep_folders(games_scratch_folder())
    MlflowTracker().reconcile(store)
    return instance


def records_place() -> str:
    """Where Dagster's records are: the address of a database that answers, without its password.

    Raises:
        InstanceError: Dagster cannot read its settings, or the database does not answer.
    """
    with _opened() as instance:
        storage = instance.run_storage
        if not isinstance(storage, SqlRunStorage):  # one of the user's own
            return type(storage).__name__
        with storage.connect() as connection:
            return connection.engine.url.render_as_string(hide_password=True)


def _opened() -> dg.DagsterInstance:
    folder = dagster_folder()
    try:
        return dg.DagsterInstance.from_config(str(folder))
    except Exception as error:  # whatever Dagster, its storages and their databases raise
        said = error.errors[0].message if isinstance(error, dg.DagsterInvalidConfigError) else error.__cause__ or error
        reason = " ".join(str(said).split())[:300]
        raise InstanceError(
            f"{folder}: expected Dagster's settings (dagster.yaml) and its records, got what it cannot read ({reason}"
            "). Correct that file, start the database that it names, or move the folder away: no artifact is in it"
        ) from error


def _use(folder: Path) -> None:
    other = Path(environ.get("DAGSTER_HOME") or folder)
    if other != folder:
        typer.secho(f"DAGSTER_HOME ({other}) is not used: Dagster's records are in {folder}", fg="yellow", err=True)
    environ["DAGSTER_HOME"] = str(folder)


def _warn_of_exposure() -> None:
    if folders := exposed():
        names = " ".join(map(str, folders))
        typer.secho(f"Other users of this machine can look into {names}: chmod -R go= {names}", fg="yellow", err=True)


if __name__ == "__main__":
    open_instance().dispose()
