"""The persistent Dagster instance under the home folder, ready to be used."""

from os import environ

import dagster as dg

from agentprm_dagster.home import dagster_folder
from agentprm_dagster.iterations import FIRST, ITERATION
from agentprm_dagster.provenance.verify import sweep
from agentprm_dagster.reconcile import fail_dead_runs
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import MlflowTracker


def open_instance() -> dg.DagsterInstance:
    """The instance, with the first iteration there and what killed processes left put in order."""
    environ["DAGSTER_HOME"] = str(dagster_folder())
    instance = dg.DagsterInstance.get()
    instance.add_dynamic_partitions(ITERATION, [str(FIRST)])
    fail_dead_runs(instance)
    store = ArtifactsResource().store()
    sweep(store)
    MlflowTracker().reconcile(store)
    return instance
