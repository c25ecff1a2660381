"""A tiny environment for tests: count to a number. It takes no snapshots, and its reward has steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from agentprm_dagster.envs.base import ExpertGaveUp, TaskRef
from agentprm_dagster.envs.settings import EnvironmentSettings
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Observation

COMMANDS = ("add one", "add two", "wait")


class Settings(EnvironmentSettings):
    """How many tasks each split has."""

    kind: Literal["steps"] = "steps"
    train: int | None = 6
    valid_unseen: int = 4

    @property
    def counts(self) -> Mapping[str, int | None]:
        return {"train": self.train, "valid_unseen": self.valid_unseen}


class Steps:
    """Adds up; going beyond the goal ends it with half the reward."""

    def __init__(self, goal: int) -> None:
        self.goal, self.sum = goal, 0

    def reset(self) -> Observation:
        self.sum = 0
        return self._seen(f"You stand at 0.\nYour goal: reach {self.goal}.")

    def step(self, command: str) -> Observation:
        if self.sum >= self.goal:
            return self._seen(self._text())
        self.sum += {"add one": 1, "add two": 2}.get(command, 0)
        return self._seen(self._text())

    def _text(self) -> str:
        return f"You stand at {self.sum}." if self.sum < self.goal else "It is over."

    def _seen(self, text: str) -> Observation:
        reward = 0.5 if self.sum > self.goal else self.sum / self.goal
        return Observation(text, COMMANDS, reward, done=self.sum >= self.goal)


class Counter:
    """Adds one, and never tires."""

    def act(self, observation: Observation) -> str:
        if observation.done:
            raise ExpertGaveUp("it is over")
        return "add one"


@dataclass(frozen=True)
class StepsTask:
    """To reach a number."""

    ref: TaskRef

    @property
    def id(self) -> str:
        return self.ref.id

    @property
    def kind(self) -> str:
        return self.ref.kind

    def environment(self) -> Steps:
        return Steps(3 + int(self.id[-1]) % 4)

    def expert(self, name: str, seed: int) -> Counter:
        return Counter()


@dataclass(frozen=True)
class StepsTasks:
    """All tasks of the settings."""

    settings: Settings

    def tasks(self, split: str) -> tuple[TaskRef, ...]:
        count = self.settings.counts[split] or 0
        kinds = ("odd", "even")
        return tuple(
            TaskRef("steps", f"{split}/{i}", kinds[i % 2], Path(f"/nowhere/{split}/{i}")) for i in range(count)
        )


def _goal(first_observation: str) -> str:
    return first_observation.rpartition("Your goal: ")[2]


class StepsKind:
    """The kind of environment."""

    name = "steps"
    task_kinds: Mapping[str, str] = {"odd": "odd", "even": "even"}
    splits: tuple[str, ...] = ("valid_unseen",)
    experts: tuple[str, ...] = ("counter",)
    wording = Wording(
        "You count. Answer as\nREASON: why\nACTION: command",
        "{task} {history} {observation} {candidates}",
        _goal,
    )

    def task_set(self, settings: Settings, *, seed: int, folder: Path) -> StepsTasks:
        return StepsTasks(settings)

    def open(self, ref: TaskRef) -> StepsTask:
        return StepsTask(ref)

    def digest(self, tasks: Sequence[TaskRef]) -> str:
        return sha256(" ".join(sorted(task.id for task in tasks)).encode()).hexdigest()


KIND = StepsKind()
