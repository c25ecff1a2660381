"""Drawing some tasks among many, depending on nothing but their ids and a seed."""

import random
from collections.abc import Sequence
from typing import TypeVar

from agentprm_dagster.envs.base import TaskRef, TasksCountError

Ref = TypeVar("Ref", bound=TaskRef)


def sample_tasks(tasks: Sequence[Ref], n: int, seed: int) -> tuple[Ref, ...]:
    """n different tasks drawn uniformly, in drawn order; depends only on the set of tasks, n and the seed.

    Raises:
        TasksCountError: fewer than n tasks are there.
    """
    if n > len(tasks):
        raise TasksCountError(f"expected at least {n} tasks to sample from, got {len(tasks)}; ask for fewer")
    return tuple(random.Random(seed).sample(sorted(tasks, key=lambda task: task.id), n))
