"""The persistent Dagster instance under the home folder, ready to be used."""

from os import environ
from pathlib import Path

import dagster as dg
import typer
from dagster_shared.check import CheckError
from sqlalchemy.exc import SQLAlchemyError
from yaml import YAMLError

from agentprm_dagster.home import dagster_folder, exposed, games_scratch_folder, home, write_privately
from agentprm_dagster.iterations import FIRST, ITERATION
from agentprm_dagster.provenance.lock import sweep_folders
from agentprm_dagster.provenance.verify import sweep
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import MlflowTracker
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
    instance = _read()
    instance.add_dynamic_partitions(ITERATION, [str(FIRST)])
    fail_dead_runs(instance)
    store = ArtifactsResource().store()
    sweep(store)
    sweep_folders(games_scratch_folder())
    MlflowTracker().reconcile(store)
    return instance


def existing_instance() -> dg.DagsterInstance | None:
    """The instance as it is, to be looked at; None where nothing was run yet.

    Raises:
        InstanceError: Dagster cannot read its own folder.
    """
    return _read() if (home() / "dagster").exists() else None


def _read() -> dg.DagsterInstance:
    _use(dagster_folder())
    try:
        return dg.DagsterInstance.get()
    except (dg.DagsterError, CheckError, SQLAlchemyError, YAMLError) as error:
        raise InstanceError(
            f"{dagster_folder()}: expected Dagster's settings (dagster.yaml) and its records, got what it cannot read "
            f"({' '.join(str(error).split())[:300]}). Correct that file, or move the folder away: no artifact is in it"
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
