"""What tasks of a cluster tell, while they run, the process that has started them; and how they fail, in words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from agentprm_dagster.cluster.connection import ClusterError
from agentprm_dagster.workers import Worker

_LAST = 1500
"""How many characters of what a task said are repeated."""


class Mailbox:
    """Messages of numbered tasks; it lies on the node of the process that makes it, and is gone with that process."""

    def __init__(self, ray: Any) -> None:
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})

    def slot(self, number: int) -> "Slot":
        """Where the task of that number puts its messages."""
        return Slot(self._queue, number)

    def new(self) -> list[tuple[int, Any]]:
        """What has come since it was last asked, each with its task's number."""
        messages: list[tuple[int, Any]] = self._queue.get_nowait_batch(self._queue.qsize())
        return messages


@dataclass(frozen=True)
class Slot:
    """A task's way to tell something; it waits until that has arrived."""

    queue: Any
    number: int

    def tell(self, message: Any) -> None:
        """Messages of one task arrive in their order."""
        self.queue.put((self.number, message))


@contextmanager
def failure(ray: Any) -> Iterator[None]:
    """Turns what Ray raises of a task that failed into a ClusterError: what went wrong, where, and what to do."""
    exceptions = ray.exceptions
    try:
        yield
    except exceptions.RayTaskError as error:
        said = str(error).strip()  # begins with ray::TASK() (pid=..., ip=...)
        node = re.search(r"ip=([^,)\s]+)", said)
        raise ClusterError(f"a task failed on the node {node[1] if node else '?'}: {said[-_LAST:]}") from None
    except exceptions.RayError as error:
        if "out of memory" in str(error):  # of a task, or of an actor, which have errors of their own
            raise ClusterError(
                "a node had no memory left for a task, also when it was tried again: give each task more cores (`cpus` "
                f"of the compute), so that fewer share a node, or take larger nodes. {error}"
            ) from None
        raise ClusterError(
            "the cluster lost a task, also when it was tried again, or was lost itself. "
            f"{type(error).__name__}: {error}. See that it runs; the same command goes on from what is done"
        ) from None


@contextmanager
def errors_told(pipe: Connection) -> Iterator[None]:
    """Sends a ClusterError to the process that has started this one; `heard` raises it there."""
    try:
        yield
    except ClusterError as error:
        pipe.send(error)


def heard(worker: Worker) -> Any:
    """A message of a process that is connected to a cluster.

    Raises:
        ClusterError: what it says that went wrong.
        WorkerError: it has ended, as it does when the head of the cluster is gone.
    """
    message = worker.receive()
    if isinstance(message, ClusterError):
        raise message
    return message
