"""Score cards that anybody can check: `score` plays, `agentprm score` does it from a terminal."""

from agentprm_dagster.scoring.api import score

__all__ = ["score"]
