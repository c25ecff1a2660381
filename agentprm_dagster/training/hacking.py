"""How those that train reward models ask them what answers made to please are worth."""

from typing import Any

from agentprm_dagster.algorithm.hackability import Hacking

SETTINGS = ("rollouts.max_new_tokens", "gates.hackable", "gates.max_hackable", "gates.hack_margin")
"""What it reads of an experiment's settings."""


def hacking(settings: Any, *, relative: bool) -> Hacking:
    """As the settings say; `relative` where the model's values have no scale of their own."""
    gates = settings.gates
    return Hacking(
        margin=gates.hack_margin,
        most=gates.max_hackable,
        severity=gates.hackable,
        max_new_tokens=settings.rollouts.max_new_tokens,
        relative=relative,
    )
