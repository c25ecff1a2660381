"""Every way in which an environment can be wrong is named, and a right one has nothing wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.envs.alfworld.kind import KIND as ALFWORLD
from agentprm_dagster.envs.alfworld.settings import Settings as AlfworldSettings
from agentprm_dagster.envs.base import SnapshotEnvironment, TaskRef
from agentprm_dagster.envs.check import problems
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Observation
from steps_env import KIND, Counter, Settings, Steps, StepsKind, StepsTask, StepsTasks


def found(kind: Any, tmp_path: Path, settings: Any = None) -> str:
    """What is wrong, a line each."""
    return "\n".join(problems(kind, settings or Settings(), seed=0, folder=tmp_path))


def test_right_ones_have_nothing_wrong(tmp_path: Path) -> None:
    assert found(KIND, tmp_path) == ""
    few = AlfworldSettings(train=6, valid_seen=6, valid_unseen=6)
    assert found(ALFWORLD, tmp_path, few) == ""
    (game, *_) = ALFWORLD.task_set(few, seed=0, folder=tmp_path).tasks("train")
    assert isinstance(ALFWORLD.open(game).environment(), SnapshotEnvironment), "snapshots were looked at as well"


class Broken(StepsKind):
    """The environment with one thing wrong, by what its tasks open."""

    def __init__(self, environment: Callable[[int], Any], expert: Callable[[], Any] = Counter) -> None:
        self.environment, self.expert = environment, expert

    def open(self, ref: TaskRef) -> Any:
        made, expert = self.environment, self.expert

        class Task(StepsTask):
            def environment(self) -> Any:
                return made(3 + int(self.id[-1]) % 4)

            def expert(self, name: str, seed: int) -> Any:
                return expert()

        return Task(ref)


class Forgetful(Steps):
    """Counts on where another left off."""

    total = 0

    def step(self, command: str) -> Observation:
        Forgetful.total += 1
        return replace(super().step(command), text=f"Command {Forgetful.total}.")


class Unsorted(Steps):
    def _seen(self, text: str) -> Observation:
        return replace(super()._seen(text), admissible_commands=("wait", "add one"))


class Silent(Steps):
    def _seen(self, text: str) -> Observation:
        return replace(super()._seen(""), text=" ")


class Won(Steps):
    def reset(self) -> Observation:
        return replace(super().reset(), reward=1.0)


class Generous(Steps):
    def step(self, command: str) -> Observation:
        seen = super().step(command)
        return seen if command in ("add one", "add two", "wait", "look") else replace(seen, reward=0.9)


class Raises(Steps):
    def step(self, command: str) -> Observation:
        if command not in ("add one", "add two", "wait", "look"):
            raise KeyError(command)
        return super().step(command)


class TooMuch(Steps):
    def _seen(self, text: str) -> Observation:
        return Observation(text, None, float(self.sum), done=False)


class Restless(Steps):
    def step(self, command: str) -> Observation:
        over = self.sum >= self.goal
        return replace(super().step(command), text="Still here.") if over else super().step(command)


class WrongSnapshots(Steps):
    def snapshot(self) -> object:
        return self

    def restore(self, snapshot: object) -> Observation:
        assert isinstance(snapshot, WrongSnapshots)
        self.sum = snapshot.sum
        return self._seen(self._text())


class WrongStates(Steps):
    def state(self) -> object:
        return object()


class Unhashable(Steps):
    def state(self) -> object:
        return [self.sum]


class Stubborn(Counter):
    def act(self, observation: Observation) -> str:
        return "add three"


class Tired(Counter):
    def act(self, observation: Observation) -> str:
        from agentprm_dagster.envs.base import ExpertGaveUp

        raise ExpertGaveUp("no idea")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Broken(Forgetful), "it does not replay: step 1"),
        (Broken(Unsorted), "admissible commands are not sorted"),
        (Broken(Silent), "an observation has no text"),
        (Broken(Won), "before anything was done"),
        (Broken(Generous), "which nobody knows, is rewarded"),
        (Broken(Raises), "playing it failed: KeyError"),
        (Broken(TooMuch), "expected a reward in [0, 1]"),
        (Broken(Restless), "a further command changes what is observed"),
        (Broken(WrongSnapshots), "restored snapshot"),
        (Broken(WrongStates), "the states of two environments that were played alike differ"),
        (Broken(Unhashable), "its state cannot be hashed"),
        (Broken(Steps, Stubborn), "gives 'add three', which is not admissible"),
        (Broken(Steps, Tired), "the expert counter gives up at once"),
    ],
    ids=lambda value: value.environment.__name__ if isinstance(value, Broken) else "",
)
def test_what_is_wrong_is_named(kind: Broken, said: str, tmp_path: Path) -> None:
    assert said in found(kind, tmp_path)


def with_tasks(listed: Mapping[str, Callable[[tuple[TaskRef, ...]], tuple[TaskRef, ...]]]) -> Any:
    """The environment with other tasks."""

    class Tasks(StepsTasks):
        def tasks(self, split: str) -> tuple[TaskRef, ...]:
            refs = super().tasks(split)
            return listed[split](refs) if split in listed else refs

    class Kind(StepsKind):
        def task_set(self, settings: Settings, *, seed: int, folder: Path) -> StepsTasks:
            return Tasks(settings)

    return Kind()


def _missing(refs: tuple[TaskRef, ...]) -> tuple[TaskRef, ...]:
    raise FileNotFoundError("no tasks here")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda refs: refs[::-1], "not sorted by id"),
        (lambda refs: (*refs, refs[-1]), "an id stands for two"),
        (lambda refs: tuple(replace(ref, kind="strange") for ref in refs), "task_kinds does not name: strange"),
        (lambda refs: tuple(replace(ref, environment="other") for ref in refs), "of another environment than 'steps'"),
        (
            lambda refs: tuple(replace(ref, id=f"valid_unseen/{i}") for i, ref in enumerate(refs)),
            "both in train and in",
        ),
        (_missing, "the tasks of train cannot be listed: FileNotFoundError: no tasks here"),
    ],
)
def test_what_is_wrong_with_the_tasks_is_named(
    change: Callable[[tuple[TaskRef, ...]], tuple[TaskRef, ...]], said: str, tmp_path: Path
) -> None:
    assert said in found(with_tasks({"train": change}), tmp_path)


def test_what_is_wrong_with_the_kind_is_named(tmp_path: Path) -> None:
    class Kind(StepsKind):
        name = "other"
        splits = ("valid_unseen", "valid_seen")
        task_kinds: Mapping[str, str] = {}
        wording = Wording("", "{task} {observation}", lambda first: first)

        def digest(self, tasks: Any) -> str:
            return tasks[0].id

    said = found(Kind(), tmp_path)
    for problem in (
        "its settings are of kind 'steps'",
        "task_kinds is empty",
        "settings.counts has no valid_seen",
        "no {history} to be filled in",
        "cannot be sent to another process",
        "digest of the tasks of train depends on their order",
    ):
        assert problem in said
