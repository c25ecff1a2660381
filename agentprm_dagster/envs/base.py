"""What an environment is to everything that plays it.

A folder under `envs` is one kind of environment. Its `kind.py` holds `KIND`, an `EnvironmentKind`; one line in
`envs.kinds` makes it known. What an environment can do besides being played is found by the protocols here that it
fulfils, and not by flags.
"""

import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Episode, Observation, Turn


class Environment(Protocol):
    """One task that can be played again and again. The same commands lead to the same observations."""

    def reset(self) -> Observation:
        """Starts the task anew."""

    def step(self, command: str) -> Observation:
        """Plays one command, whatever it says. Once the task is over, the last observation stays."""


@runtime_checkable
class SnapshotEnvironment(Environment, Protocol):
    """An environment that can return to any state that it, or another of the same task, has been in.

    Others are brought to a state by replaying the commands that led to it.
    """

    def snapshot(self) -> object:
        """The present state, immutable and cheap."""

    def restore(self, snapshot: object) -> Observation:
        """Returns to a state; answers what was last observed there."""


@runtime_checkable
class StatefulEnvironment(Environment, Protocol):
    """An environment that tells its state; of others the history is taken for it."""

    def state(self) -> Hashable:
        """All that decides how the task can go on; equal states play on alike, whatever was said last."""


@dataclass(frozen=True)
class TaskRef:
    """One task, before it is loaded: enough to open it in another process."""

    environment: str
    """The name of its environment's kind."""
    id: str
    """Unique among all tasks of its kind."""
    kind: str
    """What kind of task it is; one of the environment's `task_kinds`."""
    path: Path
    """The file that it is made from."""


class Task(Protocol):
    """A task that can be played."""

    @property
    def id(self) -> str:
        """The task's id."""

    @property
    def kind(self) -> str:
        """What kind of task it is."""

    def environment(self) -> Environment:
        """A fresh environment; the task's file is read once and shared."""


class ExpertGaveUp(RuntimeError):
    """A demonstrator has no advice left for its task."""


class Expert(Protocol):
    """A demonstrator of one task, in one episode."""

    def act(self, observation: Observation) -> str:
        """The next command after `observation`; ExpertGaveUp when there is none."""


@runtime_checkable
class Demonstrable(Task, Protocol):
    """A task that an expert can play."""

    def expert(self, name: str, seed: int) -> Expert:
        """A new expert for a new episode; `name` is one of the environment's `experts`."""


class TaskSet(Protocol):
    """The tasks of one experiment, by split."""

    def tasks(self, split: str) -> tuple[TaskRef, ...]:
        """The tasks of a split, sorted by id; made first where they are made and not there yet.

        Raises:
            TasksNotFoundError: they are not there.
            TasksCountError: fewer are there than the settings ask for.
            TaskFileError: some of them cannot be played.
        """


class EnvironmentKind(Protocol):
    """All that is known of a kind of environment before a task of it is loaded."""

    name: str
    """As `environment.kind` names it."""
    task_kinds: Mapping[str, str]
    """The kinds of tasks, in the order of tables, each with the heading of its column."""
    splits: tuple[str, ...]
    """The splits that policies may be judged on; `train` is there besides."""
    experts: tuple[str, ...]
    """Who can demonstrate its tasks; the first is the default."""
    wording: Wording
    """How it is told to a language model."""

    def task_set(self, settings: Any, *, seed: int, folder: Path) -> TaskSet:
        """The tasks that the environment's own settings ask for.

        Args:
            settings: of the class `Settings` in the kind's `settings.py`.
            seed: decides which tasks are made, or drawn where there are more.
            folder: where tasks that are made are kept.
        """

    def open(self, ref: TaskRef) -> Task:
        """A task as it can be played."""

    def digest(self, tasks: Sequence[TaskRef]) -> str:
        """sha256, in hex, over ids and files of some tasks, whatever their order."""


@runtime_checkable
class Explains(Protocol):
    """An environment whose demonstrator can say why, by rule, from what the episode has shown so far."""

    def explain(self, first_observation: str, turns: Sequence[Turn], action: str) -> str:
        """Why a demonstrator gives `action` after `turns`, in short sentences without a line break."""


@runtime_checkable
class DrawsMistakes(Protocol):
    """An environment that knows commands which cannot be done, for a demonstrator to recover from (DART)."""

    def mistakes(self, first_observation: str, turns: Sequence[Turn], rng: random.Random) -> Iterator[tuple[str, str]]:
        """Mistakes (reason, action) to make one after the other behind `turns`; none where there is none to make."""


@runtime_checkable
class DrawsMistakenPlaces(Protocol):
    """An environment that knows of places which cannot be gone to, for a demonstrator to recover from as well."""

    def mistaken_places(
        self, first_observation: str, turns: Sequence[Turn], rng: random.Random
    ) -> Iterator[tuple[str, str]]:
        """Mistakes (reason, action) to make one after the other behind `turns`; none where there is none to make."""


class SearchOrder(Protocol):
    """Where a demonstrator looks first, learnt from an expert's episodes."""

    def next_commands(self, first_observation: str, turns: Sequence[Turn], plan: Sequence[str]) -> list[str]:
        """What to do next, perhaps more than one command; none where nothing is left to do.

        Args:
            turns: anybody's.
            plan: of the same task (`OrdersSearch.plan`). It says what is done with what is found.
        """


@runtime_checkable
class OrdersSearch(Protocol):
    """An environment whose demonstrator can look for something in an order of its own."""

    def search_order(self, won: Sequence[Episode]) -> SearchOrder:
        """The order that an expert's won episodes tell."""

    def plan(self, actions: Sequence[str]) -> list[str]:
        """What is left of a won episode's commands, each of them admissible, without those that found nothing.

        What is left need not win.
        """

    def instead(self, command: str, observation: Observation) -> list[str] | None:
        """What to do in place of a command that `observation` does not admit; None where nothing does as well."""

    def after_refusal(self, command: str) -> list[str]:
        """What to do behind a command that could not be done, before anything else."""


@runtime_checkable
class DrawsHypotheses(Protocol):
    """An environment that can name a hypothesis to act on (steered exploration)."""

    def with_hypothesis(self, first_observation: str, rng: random.Random) -> str:
        """The first observation with a hypothesis in it; as it is where there is none to name."""


@runtime_checkable
class DrawsRandomEpisodes(Protocol):
    """An environment with a random play of its own, from which a model built from scratch learns the language."""

    def random_episode(
        self, task: Task, *, episode_id: str, max_steps: int, mistakes: float, seed: int, hindsight: bool
    ) -> Episode:
        """One episode of random commands; a share `mistakes` cannot be done.

        `hindsight`: told as if the task had been about what the episode happened upon.
        """


@runtime_checkable
class KnowsMilestones(Protocol):
    """An environment whose state tells how much of a task's goal is brought about (`targets.milestones`).

    Agents do not see it.
    """

    def progress(self, environment: Any) -> float:
        """The share of the goal's conditions that hold in an environment of a task of this kind, in [0, 1]; 1 where the
        task is fulfilled, and only there.
        """


@runtime_checkable
class Published(Protocol):
    """An environment on which others have reported results."""

    def published(self) -> str:
        """Their results, in Markdown."""


@runtime_checkable
class PlaysByReference(Protocol):
    """An environment whose tasks the engine that others use plays as well, slower and alike."""

    def reference(self, ref: TaskRef) -> Task:
        """A task on that engine. One at a time: the next one's reset ends the play of the one before."""


@runtime_checkable
class NamesRules(Protocol):
    """An environment that says whose rules its tasks are played by."""

    rules: str
    """Name and version, whatever engine computes them."""


Explain = Callable[[str, Sequence[Turn], str], str]
"""`Explains.explain`."""


def explain_in(kind: EnvironmentKind) -> Explain:
    """How reasons are worded in a kind of environment; they are empty where it knows none."""
    return kind.explain if isinstance(kind, Explains) else _no_reason


def _no_reason(first_observation: str, turns: Sequence[Turn], action: str) -> str:
    return ""


class TasksNotFoundError(FileNotFoundError):
    """No tasks where they were looked for."""


class TasksCountError(ValueError):
    """Fewer tasks than are needed, or numbers of tasks that cannot be made."""


class TaskFileError(ValueError):
    """A task's file that cannot be played as it is."""
