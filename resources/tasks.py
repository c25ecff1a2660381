"""The tasks of an environment: which belong to which split, and opening them."""

from collections.abc import Iterable

import dagster as dg

from agentprm_dagster.envs.base import Task, TaskRef, TasksCountError, TaskSet
from agentprm_dagster.envs.drawing import sample_tasks
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.envs.settings import EnvironmentSettings
from agentprm_dagster.home import games_folder


class TasksResource(dg.ConfigurableResource):
    """The tasks that an environment's settings ask for; those that are made are kept in the home folder."""

    def train(self, environment: EnvironmentSettings, seed: int) -> tuple[TaskRef, ...]:
        """The tasks to train on, sorted by id; none of a split that policies are judged on.

        Args:
            seed: the experiment's, which decides which tasks are made, parted and drawn.

        Raises:
            TasksNotFoundError: the tasks are not there.
            TasksCountError: fewer tasks are there than the settings ask for.
            TaskFileError: some of them cannot be played.
        """
        return self._set(environment, seed).tasks("train")

    def demonstrated(
        self, environment: EnvironmentSettings, seed: int, count: int | None, order: int
    ) -> tuple[TaskRef, ...]:
        """At most `count` training tasks (None: all) for the expert to play, in an order that a number decides.

        Raises as `train` does, and TasksCountError where a single task is to be parted.
        """
        return _draw(self._parts(environment, seed)[0], count, order)

    def explored(
        self, environment: EnvironmentSettings, seed: int, count: int | None, order: int
    ) -> tuple[TaskRef, ...]:
        """At most `count` training tasks (None: all) for rollouts, in an order that a number decides.

        Raises as `train` does, and TasksCountError where a single task is to be parted.
        """
        return _draw(self._parts(environment, seed)[1], count, order)

    def _parts(self, environment: EnvironmentSettings, seed: int) -> tuple[tuple[TaskRef, ...], tuple[TaskRef, ...]]:
        """The training tasks to be demonstrated and those to be explored: all are both, or none is."""
        tasks, share = self.train(environment, seed), environment.demonstrated
        if share == 1:
            return tasks, tasks
        if len(tasks) < 2:
            raise TasksCountError(
                f"environment.demonstrated is {share}: expected at least two training tasks to part, got one"
            )
        demonstrated = set(sample_tasks(tasks, min(max(round(share * len(tasks)), 1), len(tasks) - 1), seed))
        return tuple(task for task in tasks if task in demonstrated), tuple(
            task for task in tasks if task not in demonstrated
        )

    def split(self, environment: EnvironmentSettings, seed: int, name: str, count: int | None) -> tuple[TaskRef, ...]:
        """So many tasks (None: all) of an evaluation split, sorted by id; raises as `train` does."""
        tasks = self._set(environment, seed).tasks(name)
        if count is None or count == len(tasks):
            return tasks
        return tuple(sorted(sample_tasks(tasks, count, seed), key=lambda task: task.id))

    def open(self, tasks: Iterable[TaskRef]) -> list[Task]:
        """The tasks as they can be played."""
        return [kind_of(task.environment).open(task) for task in tasks]

    def _set(self, environment: EnvironmentSettings, seed: int) -> TaskSet:
        return kind_of(environment.kind).task_set(environment, seed=seed, folder=games_folder())


def _draw(tasks: tuple[TaskRef, ...], count: int | None, order: int) -> tuple[TaskRef, ...]:
    return sample_tasks(tasks, min(count or len(tasks), len(tasks)), order)
