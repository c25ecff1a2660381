"""Writes a made-up game down as ALFWorld does: `traj_data.json`, `initial_state.pddl` and `game.tw-pddl`."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

from agentprm_dagster.envs.alfworld.generate_rules import affording, can_contain, domain, goal_text, grammar, sentences
from agentprm_dagster.envs.alfworld.generate_scenes import LAMP, Item, Scene
from agentprm_dagster.envs.alfworld.generate_tables import FURNITURE, NOT_PORTABLE, PLACES

_AFFORDANCES = ("Cleanable", "Heatable", "Coolable", "Toggleable", "Sliceable")


def task_folder(scene: Scene) -> str:
    """The task folder's name: task, object, movable receptacle (none), receptacle or lamp, room."""
    return f"{scene.task_type}-{scene.target}-None-{scene.goal or LAMP}-{scene.room.number}"


def trajectory(scene: Scene, trial: str) -> dict[str, Any]:
    """What the text environment and alfworld's experts read of `traj_data.json`."""
    return {
        "task_id": trial,
        "task_type": scene.task_type,
        "pddl_params": {
            "object_target": scene.target,
            "mrecep_target": "",
            "parent_target": scene.goal,
            "toggle_target": "" if scene.goal else LAMP,
            "object_sliced": False,
        },
        "scene": {"scene_num": scene.room.number, "floor_plan": f"FloorPlan{scene.room.number}"},
    }


def game_data(scene: Scene, problem: str, rng: random.Random) -> dict[str, Any]:
    """The content of `game.tw-pddl`; the generator draws how the task is said among alfworld's sentences."""
    sentence = rng.choice(sentences(scene.task_type, scene.target, scene.goal, LAMP))
    return {
        "pddl_domain": domain(),
        "grammar": grammar(sentence),
        "pddl_problem": problem,
        "solvable": True,
        "walkthrough": list(scene.walkthrough),
    }


def problem_text(scene: Scene, trial: str) -> str:
    """The PDDL problem of a scene, in the order and words of ALFRED's own."""
    goal = goal_text(scene.task_type, scene.target, scene.goal, LAMP)
    sections = (_lines(_objects(scene)), ")", "(:init", _lines(_facts(scene)), ")", goal)
    return "\n".join((f"(define (problem plan_{trial})", "(:domain alfred)", "(:objects", *sections))


def _objects(scene: Scene) -> Iterable[str]:
    receptacles = scene.room.receptacles
    yield "agent1 - agent"
    yield from (f"{thing}Type - otype" for thing in _all_types(PLACES))
    yield from (f"{item.id} - object" for item in scene.items)
    # Every type is declared, present or not: the domain names some as constants.
    yield from (f"{type_}Type - rtype" for type_ in _all_types(FURNITURE))
    yield from (f"{receptacle.id} - receptacle" for receptacle in receptacles)
    yield from (f"{spot} - location" for spot in sorted({scene.room.start, *(place.location for place in receptacles)}))


def _all_types(by_kind: Mapping[Any, Iterable[str]]) -> list[str]:
    return sorted({type_ for types in by_kind.values() for type_ in types})


def _facts(scene: Scene) -> Iterable[str]:
    yield from (f"(receptacleType {place.id} {place.type}Type)" for place in scene.room.receptacles)
    yield from (f"(objectType {item.id} {item.type}Type)" for item in scene.items)
    yield from _containment(scene)
    yield from (f"(pickupable {item.id})" for item in scene.items if item.type not in NOT_PORTABLE)
    yield from (f"(openable {place.id})" for place in scene.room.receptacles if place.openable)
    yield f"(atLocation agent1 {scene.room.start})"
    for affordance in _AFFORDANCES:
        things = affording(affordance)
        yield from (f"({affordance.lower()} {item.id})" for item in scene.items if item.type in things)
    yield from (f"(isCool {item.id})" for item in scene.items if _is_cold(item))
    yield from (f"(inReceptacle {item.id} {item.where.id})" for item in scene.items)
    yield from (f"(receptacleAtLocation {place.id} {place.location})" for place in scene.room.receptacles)
    yield from (f"(objectAtLocation {item.id} {item.where.location})" for item in scene.items)


def _containment(scene: Scene) -> Iterable[str]:
    present = {item.type for item in scene.items}
    for type_ in sorted(scene.room.types):
        yield from (f"(canContain {type_}Type {thing}Type)" for thing in sorted(can_contain(type_) & present))


def _is_cold(item: Item) -> bool:
    return item.where.type == "Fridge" and item.type in affording("Coolable")


def _lines(entries: Iterable[str]) -> str:
    return "\n".join(f"    {entry}" for entry in entries)
