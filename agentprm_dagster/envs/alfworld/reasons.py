"""The demonstrator's REASON: short sentences, by rule, from what the episode has shown so far and never from more.

The experts give commands only. The reason names what the command is for: the object still looked for, the object
held and what must still be done to it, the place it goes to. Behind a command that could not be done it begins with
what that may mean: a small policy that does not say so gives the same command for ever.
"""

import re
from collections.abc import Sequence

from agentprm_dagster.envs.alfworld.tasks import Task, parse_task
from agentprm_dagster.envs.alfworld.wording import NOTHING_HAPPENS
from agentprm_dagster.episodes.records import Turn

PREPARATION = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}
_TAKEN = re.compile(r"You pick up the (\w+ \d+) from the")
_MOVED = re.compile(r"You move the (\w+ \d+) to the (\w+) \d+")
_PREPARED = re.compile(r"You (clean|heat|cool) the (\w+ \d+) using the")
_ARRIVED = re.compile(r"You arrive at (\w+ \d+)")
_SEEN = re.compile(r"(?:On the \w+ \d+|In it), you see (.*)")
_LISTED = re.compile(r"\ban? (\w+ \d+)")


class Progress:
    """What the turns so far show: where one is, what is held, what was done to it, what is in its place."""

    def __init__(self, task: Task, turns: Sequence[Turn]) -> None:
        self.task = task
        self.place: str | None = None
        """The receptacle last arrived at."""
        self.here: set[str] = set()
        """The objects seen to lie there."""
        self.held: str | None = None
        self.prepared: set[str] = set()
        self.placed: set[str] = set()
        for turn in turns:
            self._read(turn.observation)

    def _read(self, observation: str) -> None:
        if match := _ARRIVED.match(observation):
            self.place, self.here = match[1], set()
        if match := _SEEN.search(observation):
            self.here.update(_LISTED.findall(match[1]))
        if match := _TAKEN.match(observation):
            self.held = match[1]
            self.here.discard(match[1])
            self.placed.discard(match[1])
        elif match := _MOVED.match(observation):
            self.held = None
            self.here.add(match[1])
            if match[2] == self.task.receptacle and match[1].split()[0] == self.task.object:
                self.placed.add(match[1])
        elif match := _PREPARED.match(observation):
            self._prepare(match[1], match[2])
        elif observation.startswith("You close"):
            self.here = set()

    def _prepare(self, verb: str, name: str) -> None:
        if verb == PREPARATION.get(self.task.task_type):
            self.prepared.add(name)

    @property
    def holds_target(self) -> bool:
        """Whether the object held is of the type the task is about."""
        return self.held is not None and self._is_target(self.held)

    @property
    def found(self) -> list[str]:
        """The objects here that the task is about and that are not in their place yet."""
        return sorted(name for name in self.here - self.placed if self._is_target(name))

    def _is_target(self, name: str) -> bool:
        return name.split()[0] == self.task.object


def explain(first_observation: str, turns: Sequence[Turn], action: str) -> str:
    """Why a demonstrator gives `action` after `turns`, in short sentences without a line break."""
    failed = _failed(turns)
    if failed == _may_be_at_hand(action.removeprefix("examine ")):  # which says all: it is looked into
        return failed.rstrip()
    return failed + _why(first_observation, turns, action)


def _failed(turns: Sequence[Turn]) -> str:
    """What it may mean that the last command could not be done; nothing where it could."""
    if not turns or turns[-1].observation != NOTHING_HAPPENS:
        return ""
    command = turns[-1].action
    place = command.removeprefix("go to ")
    return "Nothing happened. " if place == command else _may_be_at_hand(place)


def _may_be_at_hand(place: str) -> str:
    return f"The {place} may be at hand. "


def _why(first_observation: str, turns: Sequence[Turn], action: str) -> str:
    progress = Progress(parse_task(first_observation), turns)
    verb, *words = action.split()
    if verb == "take":
        return f"Here is {words[0]} {words[1]}."
    if verb == "open":
        return f"{_purpose(progress)} The {' '.join(words)} is closed."
    if verb == "close":
        return f"{_purpose(progress)} I am done with {' '.join(words)}."
    return _purpose(progress)


def notice(first_observation: str, turns: Sequence[Turn]) -> str:
    """What a demonstrator would have in mind after `turns`, whatever is done next."""
    return _failed(turns) + _noticed(first_observation, turns)


def _noticed(first_observation: str, turns: Sequence[Turn]) -> str:
    progress = Progress(parse_task(first_observation), turns)
    if progress.held is None and progress.found:
        return f"Here is {progress.found[0]}."
    return _purpose(progress)


def _purpose(progress: Progress) -> str:
    task = progress.task
    if progress.held is None:
        return _search(task, len(progress.placed))
    if not progress.holds_target:
        return f"I do not need {progress.held}."
    preparation = PREPARATION.get(task.task_type)
    if preparation and progress.held not in progress.prepared:
        return f"I must {preparation} {progress.held}."
    if task.task_type == "look_at_obj_in_light":
        return f"I need a {task.receptacle} to look at {progress.held}."
    return f"I bring {progress.held} to a {task.receptacle}."


def _search(task: Task, placed: int) -> str:
    if task.task_type == "pick_two_obj_and_place" and placed:
        return f"I look for a second {task.object}."
    return f"I look for a {task.object}."
