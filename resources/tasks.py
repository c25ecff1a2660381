"""The tasks an experiment plays: which belong to which split, and opening them."""

from collections.abc import Iterable

import dagster as dg

from agentprm_dagster.config import Experiment
from agentprm_dagster.envs.base import Task, TaskRef, TasksCountError, TaskSet
from agentprm_dagster.envs.drawing import sample_tasks
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.home import games_folder


class TasksResource(dg.ConfigurableResource):
    """The tasks of the experiment's environment; those that are made are kept in the home folder."""

    def train(self, experiment: Experiment) -> tuple[TaskRef, ...]:
        """The tasks to train on, sorted by id; none of a split that policies are judged on.

        Raises:
            TasksNotFoundError: the tasks are not there.
            TasksCountError: fewer tasks are there than the experiment asks for.
            TaskFileError: some of them cannot be played.
        """
        return self._set(experiment).tasks("train")

    def demonstrated(self, experiment: Experiment, count: int | None, seed: int) -> tuple[TaskRef, ...]:
        """At most `count` training tasks (None: all) for the expert to play, in an order that the seed decides.

        Raises as `train` does, and TasksCountError where a single task is to be parted.
        """
        return _draw(self._parts(experiment)[0], count, seed)

    def explored(self, experiment: Experiment, count: int | None, seed: int) -> tuple[TaskRef, ...]:
        """At most `count` training tasks (None: all) for rollouts, in an order that the seed decides.

        Raises as `train` does, and TasksCountError where a single task is to be parted.
        """
        return _draw(self._parts(experiment)[1], count, seed)

    def _parts(self, experiment: Experiment) -> tuple[tuple[TaskRef, ...], tuple[TaskRef, ...]]:
        """The training tasks to be demonstrated and those to be explored: all are both, or none is."""
        tasks, share = self.train(experiment), experiment.environment.demonstrated
        if share == 1:
            return tasks, tasks
        if len(tasks) < 2:
            raise TasksCountError(
                f"environment.demonstrated is {share}: expected at least two training tasks to part, got one"
            )
        shown = set(sample_tasks(tasks, min(max(round(share * len(tasks)), 1), len(tasks) - 1), experiment.seed))
        return tuple(task for task in tasks if task in shown), tuple(task for task in tasks if task not in shown)

    def split(self, experiment: Experiment, name: str) -> tuple[TaskRef, ...]:
        """The tasks of an evaluation split, sorted by id; raises as `train` does."""
        tasks, count = self._set(experiment).tasks(name), experiment.evaluation.games
        if count is None or count == len(tasks):
            return tasks
        return tuple(sorted(sample_tasks(tasks, count, experiment.seed), key=lambda task: task.id))

    def open(self, tasks: Iterable[TaskRef]) -> list[Task]:
        """The tasks as they can be played."""
        return [kind_of(task.environment).open(task) for task in tasks]

    def _set(self, experiment: Experiment) -> TaskSet:
        settings = experiment.environment
        return kind_of(settings.kind).task_set(settings, seed=experiment.seed, folder=games_folder())


def _draw(tasks: tuple[TaskRef, ...], count: int | None, seed: int) -> tuple[TaskRef, ...]:
    return sample_tasks(tasks, min(count or len(tasks), len(tasks)), seed)
