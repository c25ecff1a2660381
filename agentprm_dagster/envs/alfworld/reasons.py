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
_MOVED = re.compile(r"You move the (\w+ \d+) to the (\w+ \d+)")
_PREPARED = re.compile(r"You (clean|heat|cool) the (\w+ \d+) using the")
_ARRIVED = re.compile(r"You arrive at (\w+ \d+)")
_SEEN = re.compile(r"(?:On the (\w+ \d+)|The (\w+ \d+) is open\. In it), you see (.*)")
_CLOSED = re.compile(r"(?:You close the|The) (\w+ \d+)(?: is closed)?\.$")
_LISTED = re.compile(r"\ban? (\w+ \d+)")


class Progress:
    """What the turns so far show: where one is, what lies where, what is held, what was done to it."""

    def __init__(self, task: Task, turns: Sequence[Turn]) -> None:
        self.task = task
        self.place: str | None = None
        """The receptacle last arrived at."""
        self.lies: dict[str, str] = {}
        """The objects that were seen, and the receptacle where each lies."""
        self.seen: dict[str, None] = {}
        """The receptacles that were seen into, in their order."""
        self.closed: set[str] = set()
        """Those that are closed where one is."""
        self._open_here: set[str] = set()
        """Those seen into since one arrived: several may share a spot."""
        self.held: str | None = None
        self.prepared: set[str] = set()
        self.placed: set[str] = set()
        for turn in turns:
            self._read(turn.observation)

    def _read(self, observation: str) -> None:
        if match := _ARRIVED.match(observation):
            self.place, self.closed, self._open_here = match[1], set(), set()
        if match := _SEEN.search(observation):
            self._see(match[1] or match[2], _LISTED.findall(match[3]))
        if match := _TAKEN.match(observation):
            self.held = match[1]
            self.lies.pop(match[1], None)
            self.placed.discard(match[1])
        elif match := _MOVED.match(observation):
            self._put_down(match[1], match[2])
        elif match := _PREPARED.match(observation):
            self._prepare(match[1], match[2])
        elif match := _CLOSED.search(observation):
            self.closed.add(match[1])
            self._open_here.discard(match[1])

    def _see(self, place: str, objects: Sequence[str]) -> None:
        self.lies = {each: where for each, where in self.lies.items() if where != place}
        self.lies.update(dict.fromkeys(objects, place))
        self.seen[place] = None
        self.closed.discard(place)
        self._open_here.add(place)

    def _put_down(self, name: str, place: str) -> None:
        self.held = None
        self.lies[name] = place
        self._open_here.add(place)
        if place.split()[0] == self.task.receptacle and self.is_target(name):
            self.placed.add(name)

    def _prepare(self, verb: str, name: str) -> None:
        if verb == PREPARATION.get(self.task.task_type):
            self.prepared.add(name)

    @property
    def holds_target(self) -> bool:
        """Whether the object held is of the type the task is about."""
        return self.held is not None and self.is_target(self.held)

    @property
    def here(self) -> set[str]:
        """The objects seen to lie where one is."""
        return {each for each, where in self.lies.items() if where in self._open_here}

    @property
    def found(self) -> list[str]:
        """The objects here that the task is about and that are not in their place yet."""
        return sorted(name for name in self.here - self.placed if self.is_target(name))

    def is_target(self, name: str) -> bool:
        """Whether an object is of the type the task is about."""
        return name.split()[0] == self.task.object


def explain(first_observation: str, turns: Sequence[Turn], action: str) -> str:
    """Why a demonstrator gives `action` after `turns`, in short sentences without a line break."""
    progress = Progress(parse_task(first_observation), turns)
    verb, *words = action.split()
    taking = " ".join(words[:2]) if verb == "take" else None
    failed = _failed(turns)
    # That a place may be at hand says all about looking into it.
    why = "" if failed == _may_be_at_hand(action.removeprefix("examine ")) else _why(progress, action)
    return _in_words(failed, why, _remembered(progress, taking))


def notice(first_observation: str, turns: Sequence[Turn]) -> str:
    """What a demonstrator would have in mind after `turns`, whatever is done next."""
    progress = Progress(parse_task(first_observation), turns)
    taking = progress.found[0] if progress.held is None and progress.found else None
    what = f"Here is {taking}." if taking else _purpose(progress)
    return _in_words(_failed(turns), what, _remembered(progress, taking))


def _in_words(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _failed(turns: Sequence[Turn]) -> str:
    """What it may mean that the last command could not be done; nothing where it could."""
    if not turns or turns[-1].observation != NOTHING_HAPPENS:
        return ""
    command = turns[-1].action
    place = command.removeprefix("go to ")
    return "Nothing happened." if place == command else _may_be_at_hand(place)


def _may_be_at_hand(place: str) -> str:
    return f"The {place} may be at hand."


def _why(progress: Progress, action: str) -> str:
    verb, *words = action.split()
    if verb == "take":
        return f"Here is {words[0]} {words[1]}."
    if verb == "open":
        return f"{_purpose(progress)} The {' '.join(words)} is closed."
    if verb == "close":
        return f"{_purpose(progress)} I am done with {' '.join(words)}."
    return _purpose(progress)


def _remembered(progress: Progress, taking: str | None) -> str:
    """Where something was seen that will be needed behind what is in hand, or `taking`; nothing where none was.

    Said again in every reason it is never far back.
    """
    task, wanted = progress.task, None
    if task.task_type == "look_at_obj_in_light":
        wanted = task.receptacle
    elif task.task_type == "pick_two_obj_and_place":
        in_hand = progress.holds_target or (taking is not None and progress.is_target(taking))
        wanted = task.object if len(progress.placed) + in_hand < 2 else None
    known = sorted(
        name for name in progress.lies if name.split()[0] == wanted and name != taking and name not in progress.placed
    )
    return f"A {wanted} is at {progress.lies[known[0]]}." if known else ""


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
