"""How much of a goal holds: the conditions of its PDDL that commands change, and that its thing was taken up.

    pick and place           the thing was taken up, it is in a receptacle of the goal
    clean, heat, cool        the thing was taken up, it is clean, hot or cool, it is in a receptacle of the goal
    two things               each was taken up, each is in one and the same receptacle of the goal
    look in light            the thing is held, a lamp of the goal is on, such a lamp is at hand

Of several things, and receptacles, the best are taken. "Taken up" is no condition of the goal, but nothing is put
anywhere without it; it holds while the thing is in the agent's hand or where it is to be.
"""

from collections.abc import Sequence

from agentprm_dagster.envs.alfworld.goal import TREATED, Goal
from agentprm_dagster.envs.alfworld.state import State


def progress(goal: Goal, state: State, at_hand: Sequence[int]) -> float:
    """The share of the conditions that hold in a state, in [0, 1]; 1 only where it wins.

    `at_hand` are the receptacles at the agent's place.
    """
    if goal.task_type == "look_at_obj_in_light":
        return _looking(goal, state, at_hand)
    wanted = 2 if goal.task_type == "pick_two_obj_and_place" else 1
    return max((_placing(goal, state, receptacle, wanted) for receptacle in goal.receptacles), default=0.0)


def _looking(goal: Goal, state: State, at_hand: Sequence[int]) -> float:
    lit = goal.lamps & state.toggled
    beside = any(not goal.lamps.isdisjoint(state.contents[r]) for r in at_hand)
    # Of several lamps another one than that at hand may be on: then not all of it holds.
    lit_beside = any(not lit.isdisjoint(state.contents[r]) for r in at_hand)
    held = state.held in goal.things
    return (held + bool(lit) + (lit_beside if lit else beside)) / 3


def _placing(goal: Goal, state: State, receptacle: int, wanted: int) -> float:
    """Of the best `wanted` things, with one receptacle."""
    treatment = TREATED.get(goal.task_type)
    treated = getattr(state, treatment) if treatment else goal.things
    there = frozenset(state.contents[receptacle])
    done = sorted(
        (_of_thing(thing, state, there, treated, treatment is not None) for thing in goal.things), reverse=True
    )
    return sum(done[:wanted]) / (wanted * (3 if treatment else 2))


def _of_thing(thing: int, state: State, there: frozenset[int], treated: frozenset[int], needs_treatment: bool) -> int:
    placed = thing in there
    return (placed or state.held == thing) + placed + (needs_treatment and thing in treated)
