"""What generated games take from the installed alfworld: its rules, its grammar, its goals and what fits where.

alfworld is imported inside the functions because importing it makes its data folder and sets ALFWORLD_DATA.
"""

from functools import cache
from pathlib import Path

from agentprm_dagster.core.types import TaskType


def can_contain(receptacle_type: str) -> frozenset[str]:
    """The object types that a receptacle type takes."""
    from alfworld.gen.constants import VAL_RECEPTACLE_OBJECTS

    return frozenset(VAL_RECEPTACLE_OBJECTS.get(receptacle_type, ()))


def affording(affordance: str) -> frozenset[str]:
    """The object types that are Heatable, Coolable, Cleanable, Sliceable or Toggleable."""
    from alfworld.gen.constants import VAL_ACTION_OBJECTS

    return frozenset(VAL_ACTION_OBJECTS[affordance])


def goal_text(task_type: TaskType, target: str, goal: str, lamp: str) -> str:
    """The goal in PDDL, with the parenthesis that closes the problem."""
    from alfworld.gen.goal_library import gdict

    template: str = gdict[task_type]["pddl"]
    return template.format(obj=target, recep=goal, toggle=lamp).replace("#", "-")  # alfworld writes "#" for "-"


def sentences(task_type: TaskType, target: str, goal: str, lamp: str) -> list[str]:
    """The ways to say the task, without a full stop: "put a mug in desk"."""
    from alfworld.gen.goal_library import gdict

    words = {"obj": target.lower(), "recep": goal.lower(), "toggle": lamp.lower()}
    return [template.format(**words) for template in gdict[task_type]["templates"]]


@cache
def domain() -> str:
    """The PDDL domain of all games."""
    from alfworld.info import ALFRED_PDDL_PATH

    return Path(ALFRED_PDDL_PATH).read_text()


def grammar(sentence: str) -> str:
    """The grammar of a game whose task is the sentence."""
    return _grammar().replace("UNKNOWN GOAL", sentence)


@cache
def _grammar() -> str:
    from alfworld.info import ALFRED_TWL2_PATH

    return Path(ALFRED_TWL2_PATH).read_text()
