"""alfworld's handcoded expert, and the same with its put/move fault corrected."""

from typing import Any

from agentprm_dagster.envs.alfworld.quiet_alfworld import import_alfworld

_alfworld = import_alfworld("alfworld.agents.expert")

STOPS = (_alfworld.HandCodedAgentFailed, _alfworld.HandCodedAgentTimeout, LookupError)
"""What the expert raises where it has no advice left; LookupError where one of its lists ran empty."""


def make_agent(max_steps: int, corrected: bool) -> Any:
    """The expert as shipped, or corrected; it raises alfworld's Timeout after `max_steps` pieces of advice."""
    return (_CorrectedAgent if corrected else _alfworld.HandCodedTWAgent)(max_steps=max_steps)


class _CorrectedAgent(_alfworld.HandCodedTWAgent):  # type: ignore[name-defined]  # alfworld is not typed
    def get_task_policy(self, task_param: dict[str, Any]) -> type:
        policy = super().get_task_policy(task_param)
        return type(f"Corrected{policy.__name__}", (_NoticesMoves, policy), {})


class _NoticesMoves:
    """Mixed into alfworld's policies, which take note of "put ..." only."""

    def update_state_tracking(self, game_state: dict[str, Any], last_action: str) -> None:
        if last_action.startswith("move "):
            last_action = f"put {last_action.removeprefix('move ')}"
        super().update_state_tracking(game_state, last_action)  # type: ignore[misc]  # the policy's
