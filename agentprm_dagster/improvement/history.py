"""The numbers of every step of an improvement, as a training's snapshots keep them."""

from typing import Any


class History(list[dict[str, float]]):
    """One mapping a step; see `training.snapshots.Stateful`."""

    def state_dict(self) -> dict[str, Any]:
        """All of them."""
        return {"steps": list(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them over."""
        self[:] = state_dict["steps"]
