"""The tasks of a served environment: numbers, with the settings that they are played by in a file beside them."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from agentprm_dagster.envs.base import Environment, Expert, TaskFileError, TaskRef, TasksNotFoundError
from agentprm_dagster.envs.generated import generate_once
from agentprm_dagster.envs.openenv.settings import Settings
from agentprm_dagster.section import MOST_GAMES

NAME = "openenv"
KIND_OF_TASK = "served"
"""Nobody tells of which kind a task is."""
FILE = "settings.json"
_FOLDER = "tasks"
_COUNTED = {"train", "demonstrated", "valid_seen", "valid_unseen"}
"""What decides how many tasks there are, and not what any of them is."""


class ServedTasks:
    """The tasks that an experiment's settings ask for (`envs.base.TaskSet`); the server is not asked for them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder

    def tasks(self, split: str) -> tuple[TaskRef, ...]:
        """The tasks of a split, sorted by id.

        Raises:
            TasksNotFoundError: the settings ask for none of this split.
        """
        if not (count := self.settings.counts.get(split)):
            raise TasksNotFoundError(f"expected tasks of {split}, but the settings ask for none")
        path = self._file()
        return tuple(TaskRef(NAME, f"{split}/{index:06}", KIND_OF_TASK, path) for index in range(count))

    def _file(self) -> Path:
        """The settings, written where they are not yet."""
        said = self.settings.model_dump(mode="json", exclude=_COUNTED)
        text = self.settings.model_dump_json(exclude=_COUNTED, indent=2)
        root = self.folder / f"{NAME}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

        def write(staging: Path) -> None:
            staging.mkdir(exist_ok=True)
            (staging / FILE).write_text(text, encoding="utf-8")

        generate_once(root, _FOLDER, said, write)
        return root / _FOLDER / FILE


class ServedTask:
    """One task (`envs.base.Demonstrable`)."""

    def __init__(self, ref: TaskRef) -> None:
        self.ref, self.id, self.kind = ref, ref.id, ref.kind

    @cached_property
    def _settings(self) -> Settings:
        try:
            return Settings.model_validate_json(self.ref.path.read_bytes())
        except ValidationError as error:
            raise TaskFileError(f"{self.ref.path}: expected the settings of a served environment: {error}") from error

    def environment(self) -> Environment:
        """A fresh environment, which connects when it is reset."""
        from agentprm_dagster.envs.openenv.environment import ServedEnvironment

        split, _, index = self.id.rpartition("/")
        return ServedEnvironment(self._settings, filled_in(self._settings.reset, split, int(index)))

    def expert(self, name: str, seed: int) -> Expert:
        """A new demonstrator: `trial`."""
        from agentprm_dagster.envs.openenv.trial import Trial

        return Trial(self, seed)


def filled_in(told: Mapping[str, JsonValue], split: str, index: int) -> dict[str, Any]:
    """What a reset is told of a task, with {split}, {index} and {number} in it."""
    number = ("train", "valid_seen", "valid_unseen").index(split) * MOST_GAMES + index
    values = {"{split}": split, "{index}": index, "{number}": number}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(each) for name, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        return values.get(value, value) if isinstance(value, str) else value

    return {name: fill(value) for name, value in told.items()}


def tasks_digest(tasks: Iterable[TaskRef]) -> str:
    """sha256, in hex, over ids and files of some tasks, whatever their order."""
    digest = hashlib.sha256()
    for task in sorted(tasks, key=lambda task: task.id):
        digest.update(f"{task.id}\0{hashlib.sha256(task.path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
