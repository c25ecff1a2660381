"""The goals of ALFWorld's six task types: recognised in PDDL, checked in a state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agentprm_dagster.envs.alfworld.pddl import Problem
from agentprm_dagster.envs.alfworld.state import State
from agentprm_dagster.envs.alfworld.tasks import TaskType

_PLACED = {"inreceptacle ?o ?r", "objecttype ?o *", "receptacletype ?r *"}
_BOTH_PLACED = {atom.replace("?o", o) for atom in _PLACED for o in ("?o1", "?o2")} | {"= ?o1 ?o2"}
_LIT = {"objecttype ?ot *", "toggleable ?ot", "istoggled ?ot", "inreceptacle ?ot ?r", "receptacleatlocation ?r ?l"}
_HELD_THERE = {"atlocation ?a ?l", "objecttype ?o *", "holds ?a ?o"}

_GOALS: dict[frozenset[str], TaskType] = {
    frozenset(_PLACED): "pick_and_place_simple",
    frozenset(_LIT | _HELD_THERE): "look_at_obj_in_light",
    frozenset(_PLACED | {"cleanable ?o", "isclean ?o"}): "pick_clean_then_place_in_recep",
    frozenset(_PLACED | {"heatable ?o", "ishot ?o"}): "pick_heat_then_place_in_recep",
    frozenset(_PLACED | {"coolable ?o", "iscool ?o"}): "pick_cool_then_place_in_recep",
    frozenset(_BOTH_PLACED): "pick_two_obj_and_place",
}
TREATED: dict[TaskType, Literal["clean", "hot", "cool"]] = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "hot",
    "pick_cool_then_place_in_recep": "cool",
}
_TREATABLE = {"clean": "cleanable", "hot": "heatable", "cool": "coolable"}


@dataclass(frozen=True, slots=True)
class Goal:
    """What wins a game, over the numbers of its things and receptacles."""

    task_type: TaskType
    things: frozenset[int]
    """The things that count."""
    receptacles: tuple[int, ...]
    """Where they count; none for the light task."""
    lamps: frozenset[int]
    """The lamps that count; none but for the light task."""

    def is_met(self, state: State, at_hand: Sequence[int]) -> bool:
        """Whether the state wins; `at_hand` are the receptacles at the agent's place."""
        if self.task_type == "look_at_obj_in_light":
            lit = self.lamps & state.toggled
            return state.held in self.things and any(not lit.isdisjoint(state.contents[r]) for r in at_hand)
        treatment = TREATED.get(self.task_type)
        things = self.things & getattr(state, treatment) if treatment else self.things
        wanted = 2 if self.task_type == "pick_two_obj_and_place" else 1
        return bool(things) and any(len(things.intersection(state.contents[r])) >= wanted for r in self.receptacles)


def read_goal(problem: Problem, things: Mapping[str, int], receptacles: Mapping[str, int]) -> Goal:
    """The goal of a problem, over the numbers given to its ids; raises ValueError where it is none of the six."""
    shape = frozenset(" ".join((atom[0], *(a if a[0] == "?" else "*" for a in atom[1:]))) for atom in problem.goal)
    task_type = _GOALS.get(shape)
    if task_type is None:
        raise ValueError(f"a goal of other atoms, {sorted(' '.join(atom) for atom in problem.goal)}")
    types = {atom[1]: atom[2] for atom in problem.goal if atom[0] in ("objecttype", "receptacletype")}
    able = problem.having(_TREATABLE[TREATED[task_type]]) if task_type in TREATED else things.keys()
    return Goal(
        task_type=task_type,
        things=frozenset(things[t] for t in _of_type(problem, "objecttype", types.get("?o") or types["?o1"]) & able),
        receptacles=tuple(sorted(receptacles[r] for r in _of_type(problem, "receptacletype", types.get("?r")))),
        lamps=frozenset(things[t] for t in _of_type(problem, "objecttype", types.get("?ot"))),
    )


def _of_type(problem: Problem, predicate: str, kind: str | None) -> set[str]:
    return {entity for entity, its_kind in problem.facts.get(predicate, ()) if its_kind == kind}
