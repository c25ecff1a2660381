"""Which modules a stage's recipe covers: what the asset reaches by import, and what its settings choose."""

from collections.abc import Sequence

from agentprm_dagster.engine.kinds import KINDS as ENGINES
from agentprm_dagster.engine.kinds import REFERENCE
from agentprm_dagster.envs.kinds import KINDS
from agentprm_dagster.provenance.code import reached_sources


def modules_of(asset: str, environment: str, chosen: Sequence[str], *, plays: bool) -> tuple[str, ...]:
    """The asset's module, what the settings have chosen, and of the environment all where games are played, its
    wording where dialogues are written; the reference engine where models are computed, whichever computes them.

    Args:
        environment: the kind of environment, by name.
        chosen: modules that the settings name.
        plays: whether games are played.
    """
    own, package = f"agentprm_dagster.assets.{asset}", KINDS[environment]
    reached = reached_sources(own, *chosen)
    writes, computes = (f"agentprm_dagster.engine.{name}" in reached for name in ("chat", "kinds"))
    of_environment = [f"{package}.kind"] if plays else [f"{package}.language"] if writes else []
    return (own, *chosen, *of_environment, *([ENGINES[REFERENCE]] if computes else []))
