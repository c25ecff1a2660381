"""What generated games take from the installed alfworld: its rules, its grammar, its goals and what fits where."""

from functools import cache
from pathlib import Path

from agentprm_dagster.envs.alfworld.quiet_alfworld import import_alfworld
from agentprm_dagster.envs.alfworld.tasks import TaskType


def can_contain(receptacle_type: str) -> frozenset[str]:
    """The object types that a receptacle type takes."""
    return frozenset(import_alfworld("alfworld.gen.constants").VAL_RECEPTACLE_OBJECTS.get(receptacle_type, ()))


def affording(affordance: str) -> frozenset[str]:
    """The object types that are Heatable, Coolable, Cleanable, Sliceable or Toggleable."""
    return frozenset(import_alfworld("alfworld.gen.constants").VAL_ACTION_OBJECTS[affordance])


def goal_text(task_type: TaskType, target: str, goal: str, lamp: str) -> str:
    """The goal in PDDL, with the parenthesis that closes the problem."""
    template: str = import_alfworld("alfworld.gen.goal_library").gdict[task_type]["pddl"]
    return template.format(obj=target, recep=goal, toggle=lamp).replace("#", "-")  # alfworld writes "#" for "-"


def sentences(task_type: TaskType, target: str, goal: str, lamp: str) -> list[str]:
    """The ways to say the task, without a full stop: "put a mug in desk"."""
    words = {"obj": target.lower(), "recep": goal.lower(), "toggle": lamp.lower()}
    templates = import_alfworld("alfworld.gen.goal_library").gdict[task_type]["templates"]
    return [template.format(**words) for template in templates]


@cache
def domain() -> str:
    """The PDDL domain of all games."""
    return Path(import_alfworld("alfworld.info").ALFRED_PDDL_PATH).read_text()


def grammar(sentence: str) -> str:
    """The grammar of a game whose task is the sentence."""
    return _grammar().replace("UNKNOWN GOAL", sentence)


@cache
def _grammar() -> str:
    return Path(import_alfworld("alfworld.info").ALFRED_TWL2_PATH).read_text()
