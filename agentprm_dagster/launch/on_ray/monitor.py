"""A monitor on a node of a cluster, which is heard where the work was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass

from agentprm_dagster.cluster.mail import Slot


@dataclass(frozen=True)
class SlotMonitor:
    """Tells the name of what it was asked, and the values (`episodes.stage.Monitor`)."""

    slot: Slot

    def progress(self, done: int, total: int, what: str) -> None:
        """Told."""
        self.slot.tell(("progress", done, total, what))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Told."""
        self.slot.tell(("metrics", dict(values), step))
