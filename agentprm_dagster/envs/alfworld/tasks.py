"""The task as the first observation states it: which object, what is to be done to it, where it goes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

TaskType = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]
TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)

Split = Literal["train", "valid_seen", "valid_unseen"]
SPLITS: tuple[Split, ...] = get_args(Split)

SHORT_NAMES: Mapping[str, str] = {
    "pick_and_place_simple": "pick",
    "look_at_obj_in_light": "look",
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
    "pick_two_obj_and_place": "pick two",
}
"""What tables call them."""

MARK = "Your task is to: "
_PLACE = re.compile(r"\ban? (\w+ \d+)")


class TaskError(ValueError):
    """A first observation without a task, or a task in words that ALFWorld does not use."""


@dataclass(frozen=True, slots=True)
class Task:
    """A household task, in the words the agent reads."""

    task_type: TaskType
    object: str
    """The type of object, such as "mug"."""
    receptacle: str
    """The type of receptacle it goes to; "desklamp" where it is to be looked at."""


# ALFWorld states each task in one of two ways (alfred.twl2).
_PATTERNS: tuple[tuple[TaskType, str], ...] = (
    ("look_at_obj_in_light", r"look at (?P<object>\w+) under the (?P<receptacle>\w+)"),
    ("look_at_obj_in_light", r"examine the (?P<object>\w+) with the (?P<receptacle>\w+)"),
    ("pick_clean_then_place_in_recep", r"put a clean (?P<object>\w+) in (?P<receptacle>\w+)"),
    ("pick_clean_then_place_in_recep", r"clean some (?P<object>\w+) and put it in (?P<receptacle>\w+)"),
    ("pick_heat_then_place_in_recep", r"put a hot (?P<object>\w+) in (?P<receptacle>\w+)"),
    ("pick_heat_then_place_in_recep", r"heat some (?P<object>\w+) and put it in (?P<receptacle>\w+)"),
    ("pick_cool_then_place_in_recep", r"put a cool (?P<object>\w+) in (?P<receptacle>\w+)"),
    ("pick_cool_then_place_in_recep", r"cool some (?P<object>\w+) and put it in (?P<receptacle>\w+)"),
    ("pick_two_obj_and_place", r"put two (?P<object>\w+) in (?P<receptacle>\w+)"),
    ("pick_two_obj_and_place", r"find two (?P<object>\w+) and put them in (?P<receptacle>\w+)"),
    ("pick_and_place_simple", r"put a (?P<object>\w+) in (?P<receptacle>\w+)"),
    ("pick_and_place_simple", r"put some (?P<object>\w+) on (?P<receptacle>\w+)"),
)
_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)


def task_sentence(first_observation: str) -> str:
    """The sentence after "Your task is to: ", without its full stop."""
    _, mark, sentence = first_observation.partition(MARK)
    if not mark:
        raise TaskError(f"expected a first observation with {MARK!r} in it, got {first_observation[:200]!r}")
    return sentence.strip().rstrip(".")


def places(first_observation: str) -> list[str]:
    """The receptacles that the first observation lists; none where a game begins at one of them."""
    room, _, _ = first_observation.partition(MARK)
    return _PLACE.findall(room)


def parse_task(first_observation: str) -> Task:
    """Reads the task; TaskError where it is stated in words that ALFWorld does not use."""
    sentence = task_sentence(first_observation)
    for task_type, pattern in _COMPILED:
        if match := pattern.fullmatch(sentence):
            return Task(task_type, match["object"], match["receptacle"])
    raise TaskError(f"expected one of ALFWorld's task sentences (alfred.twl2), got {sentence!r}")
