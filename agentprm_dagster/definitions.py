"""What Dagster loads: the definitions of every experiment that is chosen."""

import logging

import dagster as dg

from agentprm_dagster.assembly import build_definitions
from agentprm_dagster.home import write_privately
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.chosen import chosen_experiments
from agentprm_dagster.stages.databases import wait_for_locked_databases


def load() -> dg.Definitions:
    """Those of `chosen_experiments`; what cannot be read is named in the log."""
    catalog = chosen_experiments(ArtifactsResource().store())
    for error in catalog.errors:
        logging.getLogger(__name__).error("An experiment is left out: %s", error)
    return build_definitions(catalog.experiments)


write_privately()
wait_for_locked_databases()
defs = load()
