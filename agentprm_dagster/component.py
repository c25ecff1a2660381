"""An experiment as a Dagster component: another Dagster project adds one by a `defs.yaml`."""

from collections.abc import Mapping, Sequence
from functools import cache

import dagster as dg

from agentprm_dagster.assembly import build_definitions, resources
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.config.compose import compose


class ExperimentComponent(dg.Component, dg.Model, dg.Resolvable):
    """The assets of an AgentPRM experiment, its job, and the sensor or schedule that launches its iterations.

    Artifacts, settings that are composed here and MLflow's records lie in AGENTPRM_HOME, as with `agentprm run`.
    """

    experiment: str
    """An experiment of agentprm_dagster, or of a folder that AGENTPRM_EXPERIMENTS names."""
    studies: Sequence[str] = ()
    """Studies laid over it, as by `--with`."""
    settings: Sequence[str] = ()
    """Single settings, as by `--set`: `improvement.beta=0.3`."""
    seed: int | None = None
    """Another seed than the experiment's own."""

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows."""
        return dg.ComponentTypeSpec(description="An AgentPRM experiment: process reward models for LLM agents.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The experiment's definitions; several may stand in one project, which keeps its own executor.

        Raises:
            ExperimentError: there is no such experiment, or what is laid over it does not go with it.
        """
        seeds = () if self.seed is None else (self.seed,)
        (name,) = compose(self.experiment, self.studies, self.settings, seeds)
        built = build_definitions({name: load_experiment(name)}, _resources())
        parts = {part: getattr(built, part) for part in ("assets", "jobs", "schedules", "sensors", "resources")}
        return dg.Definitions(**parts)


@cache
def _resources() -> Mapping[str, object]:
    """One set for all: Dagster wants a resource of one name to be one object."""
    return resources()
