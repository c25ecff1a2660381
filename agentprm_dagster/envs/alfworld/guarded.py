"""TextWorld with a lock on it: no expression is read from a grammar that ALFWorld's own does not have.

Patches the running process: only a worker process of the stock engine calls this.
"""

from typing import Any

from textworld.envs.pddl import textgen

from agentprm_dagster.envs.alfworld.errors import EngineError
from agentprm_dagster.envs.alfworld.expressions import is_allowed


def guard_textworld() -> None:
    """Patches textworld in this process: reading a foreign expression raises EngineError, so none is evaluated."""
    textgen.EvalSymbol = _AllowedSymbol


class _AllowedSymbol(textgen.EvalSymbol):
    """What TextWorld makes of `{...}`, and later evaluates."""

    def __init__(self, expression: str, *context: Any) -> None:
        if not is_allowed(expression):
            raise EngineError(f"the grammar would run {expression!r} as Python, which ALFWorld's does not have")
        super().__init__(expression, *context)
