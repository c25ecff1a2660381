"""What others serve by OpenEnv, as a kind of environment (`envs.base.EnvironmentKind`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from agentprm_dagster.envs.base import Task, TaskRef, TaskSet
from agentprm_dagster.envs.openenv.language import WORDING
from agentprm_dagster.envs.openenv.settings import Settings
from agentprm_dagster.envs.openenv.tasks import KIND_OF_TASK, NAME, ServedTask, ServedTasks, tasks_digest
from agentprm_dagster.episodes.dialogue import Wording


class OpenEnvKind:
    """An environment at an address; the settings say how its tasks are chosen and its observations read."""

    name: str = NAME
    task_kinds: Mapping[str, str] = MappingProxyType({KIND_OF_TASK: KIND_OF_TASK})
    splits: tuple[str, ...] = ("valid_seen", "valid_unseen")
    experts: tuple[str, ...] = ("trial",)
    wording: Wording = WORDING

    def task_set(self, settings: Settings, *, seed: int, folder: Path) -> TaskSet:
        """The tasks that the settings number; `seed` draws none of them."""
        return ServedTasks(settings, folder)

    def open(self, ref: TaskRef) -> Task:
        """A task as it can be played."""
        return ServedTask(ref)

    def digest(self, tasks: Sequence[TaskRef]) -> str:
        """sha256, in hex, over ids and files of some tasks, whatever their order."""
        return tasks_digest(tasks)


KIND = OpenEnvKind()
