"""The persistent Dagster instance under the home folder, ready to be used."""

from os import environ

import dagster as dg
from dagster_shared.check import CheckError
from sqlalchemy.exc import SQLAlchemyError
from yaml import YAMLError

from agentprm_dagster.home import dagster_folder
from agentprm_dagster.iterations import FIRST, ITERATION
from agentprm_dagster.provenance.verify import sweep
from agentprm_dagster.reconcile import fail_dead_runs
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import MlflowTracker


class InstanceError(RuntimeError):
    """Dagster's settings or records cannot be read."""


def open_instance() -> dg.DagsterInstance:
    """The instance, with the first iteration there and what killed processes left put in order.

    Raises:
        InstanceError: Dagster cannot read its own folder.
    """
    environ["DAGSTER_HOME"] = str(dagster_folder())
    try:
        instance = dg.DagsterInstance.get()
    except (dg.DagsterError, CheckError, SQLAlchemyError, YAMLError) as error:
        raise InstanceError(
            f"{dagster_folder()}: expected Dagster's settings (dagster.yaml) and its records, got what it cannot read "
            f"({' '.join(str(error).split())[:300]}). Correct that file, or move the folder away: no artifact is in it"
        ) from error
    instance.add_dynamic_partitions(ITERATION, [str(FIRST)])
    fail_dead_runs(instance)
    store = ArtifactsResource().store()
    sweep(store)
    MlflowTracker().reconcile(store)
    return instance
