"""Is an environment what `envs.base` says? It is played, and every way in which it is wrong is named in a sentence.

The model is `check_env` of stable-baselines3. What is looked at are some tasks of every split, each played by a random
walk, played again, and shown by every expert.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

from agentprm_dagster.envs.base import (
    Demonstrable,
    Environment,
    EnvironmentKind,
    ExpertGaveUp,
    Explains,
    SnapshotEnvironment,
    StatefulEnvironment,
    Task,
    TaskRef,
)
from agentprm_dagster.envs.settings import EnvironmentSettings
from agentprm_dagster.episodes.records import Observation, Turn

STEPS = 30
"""Commands of a random walk."""
EXPERT_STEPS = 200
NONSENSE = "xyzzy frobnicate 7"
"""A command that no environment knows; it must be answered all the same."""

Walk = list[tuple[str, Observation]]
"""Commands, each with what was observed behind it."""


def problems(
    kind: EnvironmentKind, settings: EnvironmentSettings, *, seed: int, folder: Path, tasks: int = 3
) -> Iterator[str]:
    """Every way in which a kind of environment is wrong, in a sentence.

    Args:
        settings: which tasks are looked at; made ones are kept in `folder`.
        seed: decides which tasks are looked at, and how they are played.
        tasks: how many of each split are played.
    """
    yield from _of_kind(kind, settings)
    listed: dict[str, Sequence[TaskRef]] = {}
    for split, count in settings.counts.items():
        if count != 0:
            try:
                listed[split] = kind.task_set(settings, seed=seed, folder=folder).tasks(split)
            except Exception as error:  # whatever it raises is what is to be told
                yield f"the tasks of {split} cannot be listed: {_said(error)}"
    yield from _of_lists(kind, listed)
    for split, refs in listed.items():
        for ref in random.Random(seed).sample(sorted(refs, key=lambda ref: ref.id), min(tasks, len(refs))):
            for problem in _of_task(kind, ref, seed):
                yield f"{split}, task {ref.id}: {problem}"


def _of_kind(kind: EnvironmentKind, settings: EnvironmentSettings) -> Iterator[str]:
    if settings.kind != kind.name:
        yield f"its settings are of kind {settings.kind!r}, expected {kind.name!r}"
    if not kind.task_kinds:
        yield "task_kinds is empty: expected at least one kind of task, with the heading of its column"
    if missing := {"train", *kind.splits} - settings.counts.keys():
        yield f"settings.counts has no {', '.join(sorted(missing))}: expected a number, or None, for every split"
    for name in ("task", "history", "observation", "candidates"):
        if f"{{{name}}}" not in kind.wording.restated:
            yield f"wording.restated has no {{{name}}} to be filled in"
    try:
        ForkingPickler.dumps(kind)
    except Exception as error:
        yield f"it cannot be sent to another process: {_said(error)}"


def _of_lists(kind: EnvironmentKind, listed: dict[str, Sequence[TaskRef]]) -> Iterator[str]:
    for split, refs in listed.items():
        ids = [ref.id for ref in refs]
        if ids != sorted(ids) or len(set(ids)) < len(ids):
            yield f"the tasks of {split} are not sorted by id, or an id stands for two of them"
        if strange := {ref.kind for ref in refs} - kind.task_kinds.keys():
            yield f"tasks of {split} are of kinds that task_kinds does not name: {', '.join(sorted(strange))}"
        if any(ref.environment != kind.name for ref in refs):
            yield f"tasks of {split} say that they are of another environment than {kind.name!r}"
        if len(refs) > 1 and kind.digest(refs) != kind.digest(refs[::-1]):
            yield f"the digest of the tasks of {split} depends on their order"
    for one, other in combinations(listed, 2):
        if common := {ref.id for ref in listed[one]} & {ref.id for ref in listed[other]}:
            yield f"{len(common)} tasks are both in {one} and in {other}, as {min(common)}"


def _of_task(kind: EnvironmentKind, ref: TaskRef, seed: int) -> Iterator[str]:
    try:
        task = kind.open(ref)
        if (task.id, task.kind) != (ref.id, ref.kind):
            yield f"it opens as {task.id} of kind {task.kind}, expected what its reference says"
        first = task.environment().reset()
        yield from _of_start(kind, first, ref)
        walk = _random_walk(task, random.Random(seed))
        yield from _of_observations([first, *(seen for _, seen in walk)])
        yield from _of_replay(task, first, walk)
        yield from _of_nonsense(task)
        for name in kind.experts:
            yield from _of_expert(kind, task, name, seed)
    except Exception as error:  # whatever it raises is what is to be told
        yield f"playing it failed: {_said(error)}"


def _of_start(kind: EnvironmentKind, first: Observation, ref: TaskRef) -> Iterator[str]:
    if first.done or first.reward == 1:
        yield "it is over, or fulfilled, before anything was done"
    if str(ref.path.parent) in first.text:
        yield "the first observation names the folder of its file: what is observed must not depend on where it lies"
    try:
        kind.wording.task(first.text)
    except Exception as error:
        yield f"wording.task finds no task in the first observation: {_said(error)}"


def _of_observations(seen: Sequence[Observation]) -> Iterator[str]:
    if any(not observation.text.strip() for observation in seen):
        yield "an observation has no text"
    commands = [each.admissible_commands for each in seen if each.admissible_commands is not None]
    if any(list(each) != sorted(set(each)) for each in commands):
        yield "admissible commands are not sorted, or one is named twice"
    if any(not each.admissible_commands for each in seen if each.admissible_commands is not None and not each.done):
        yield "no command is admissible, and the task is not over"
    if any(each.truncated and not each.done for each in seen):
        yield "an observation is truncated and not done"


def _random_walk(task: Task, rng: random.Random) -> Walk:
    environment = task.environment()
    seen = environment.reset()
    walk: Walk = []
    while not seen.done and len(walk) < STEPS:
        command = rng.choice(seen.commands) if seen.commands else "look"
        seen = environment.step(command)
        walk.append((command, seen))
    return walk


def _of_replay(task: Task, first: Observation, walk: Walk) -> Iterator[str]:
    """The same commands in another environment, in one that was restored half way, and behind the end."""
    environment = task.environment()
    if environment.reset() != first or environment.reset() != first:
        yield "two resets are not observed alike"
    snapshots = [environment.snapshot()] if isinstance(environment, SnapshotEnvironment) else []
    for i, (command, expected) in enumerate(walk):
        seen = environment.step(command)
        if seen != expected:
            gave, before = seen.text[:80], expected.text[:80]
            yield f"it does not replay: step {i + 1}, {command!r}, gave {gave!r}, and before {before!r}"
            return
        if isinstance(environment, SnapshotEnvironment):
            snapshots.append(environment.snapshot())
    if walk and walk[-1][1].done and environment.step("look") != walk[-1][1]:
        yield "once it is over, a further command changes what is observed"
    if snapshots:
        yield from _of_snapshots(task, snapshots, walk)
    if isinstance(environment, StatefulEnvironment):
        yield from _of_states(task, walk)


def _of_snapshots(task: Task, snapshots: Sequence[object], walk: Walk) -> Iterator[str]:
    half = len(walk) // 2
    other = task.environment()
    assert isinstance(other, SnapshotEnvironment)
    for _ in range(2):  # a second time: restoring must not wear a snapshot out
        seen = other.restore(snapshots[half])
        if half and seen != walk[half - 1][1]:
            yield "a restored snapshot is not observed as its state was"
        if [other.step(command) for command, _ in walk[half:]] != [expected for _, expected in walk[half:]]:
            yield "behind a restored snapshot the same commands lead elsewhere"
            return


def _of_states(task: Task, walk: Walk) -> Iterator[str]:
    one, other = task.environment(), task.environment()
    for environment in (one, other):
        environment.reset()
    for command, _ in walk:
        one.step(command)
        other.step(command)
        try:
            same = hash(_state(one)) == hash(_state(other)) and _state(one) == _state(other)
        except TypeError as error:
            yield f"its state cannot be hashed: {error}"
            return
        if not same:
            yield f"after {command!r} the states of two environments that were played alike differ"
            return


def _state(environment: Environment) -> object:
    assert isinstance(environment, StatefulEnvironment)
    return environment.state()


def _of_nonsense(task: Task) -> Iterator[str]:
    for command in (NONSENSE, ""):
        environment = task.environment()
        before = environment.reset()
        seen = environment.step(command)
        if seen.done or seen.reward > before.reward:
            yield f"the command {command!r}, which nobody knows, is rewarded or ends it"


def _of_expert(kind: EnvironmentKind, task: Task, name: str, seed: int) -> Iterator[str]:
    if not isinstance(task, Demonstrable):
        yield f"experts names {name}, and the task has no expert()"
        return
    environment, expert = task.environment(), task.expert(name, seed)
    seen = first = environment.reset()
    turns: list[Turn] = []
    explain: Callable[..., str] | None = kind.explain if isinstance(kind, Explains) else None
    while not seen.done and len(turns) < EXPERT_STEPS:
        try:
            command = expert.act(seen)
        except ExpertGaveUp:
            break
        if not seen.admits(command):
            yield f"the expert {name} gives {command!r}, which is not admissible"
            return
        reason = explain(first.text, turns, command) if explain else ""
        if "\n" in reason:
            yield f"the reason for {command!r} has a line break"
        seen = environment.step(command)
        turns.append(Turn(reason, command, seen.text, ""))
    if not turns:
        yield f"the expert {name} gives up at once"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
