"""Makes up games in a room: a task, objects that lie where they may, and a shortest plan that fulfils the task."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations, product

from agentprm_dagster.envs.alfworld.generate_rooms import Receptacle, Room, game_names, make_ids
from agentprm_dagster.envs.alfworld.generate_rules import affording, can_contain
from agentprm_dagster.envs.alfworld.generate_tables import EXTENTS, NO_GOAL, NOT_PORTABLE, PLACES, Size
from agentprm_dagster.envs.alfworld.tasks import TaskType

MAX_PLAN = 10
LAMP = "DeskLamp"

_MOST_OF_A_TYPE = 3
_MOST_IN_VARIED = 5
"""In 300 games of ALFWorld's `train` there are four or more of 3% of the types that occur."""
_ANOTHER = 0.2
"""How often a varied room holds one more of what is looked for, and then another."""


@dataclass(frozen=True)
class Treatment:
    """What is done to an object on its way to the goal."""

    verb: str
    affordance: str
    """What alfworld's constants call objects it can be done to."""
    tool: str
    """The receptacle type it is done with."""


TREATMENTS: dict[TaskType, Treatment] = {
    "pick_clean_then_place_in_recep": Treatment("clean", "Cleanable", "SinkBasin"),
    "pick_heat_then_place_in_recep": Treatment("heat", "Heatable", "Microwave"),
    "pick_cool_then_place_in_recep": Treatment("cool", "Coolable", "Fridge"),
}


@dataclass(frozen=True)
class Item:
    """An object and where it lies when the game starts."""

    type: str
    id: str
    name: str
    where: Receptacle


@dataclass(frozen=True)
class Scene:
    """A game, before it is written down."""

    room: Room
    task_type: TaskType
    target: str
    """The object type the task asks for."""
    goal: str
    """The receptacle type it must end up in; empty when the task is to look at it."""
    items: tuple[Item, ...]
    walkthrough: tuple[str, ...]
    """Commands that win, as few as can be, at most `MAX_PLAN`."""


def draw_scene(room: Room, task_type: TaskType, size: Size, rng: random.Random) -> Scene:
    """A solvable game; draws again until its plan is short enough."""
    while True:
        target, goal = _draw_task(room, task_type, rng)
        items = _draw_items(room, task_type, target, goal, size, rng)
        plan = min(_plans(room, task_type, target, goal, items), key=lambda plan: (len(plan), plan))
        if len(plan) <= MAX_PLAN:
            return Scene(room, task_type, target, goal, items, plan)


def _draw_task(room: Room, task_type: TaskType, rng: random.Random) -> tuple[str, str]:
    tasks = {
        target: goals
        for target in PLACES[room.kind]
        if target not in NOT_PORTABLE and (goals := _goals(room, task_type, target))
    }
    target = rng.choice(sorted(tasks))
    return target, rng.choice(tasks[target])


def _goals(room: Room, task_type: TaskType, target: str) -> list[str]:
    """The goals that make sense for a target; the one empty goal stands for a look under the lamp."""
    if task_type == "look_at_obj_in_light":
        return [""] if _places(room, target, set()) else []
    treatment = TREATMENTS.get(task_type)
    if treatment and target not in affording(treatment.affordance):
        return []
    return [
        goal
        for goal in sorted(room.types - NO_GOAL - {treatment.tool if treatment else ""})
        if target in can_contain(goal) and _places(room, target, _not_at_first(task_type, goal))
    ]


def _not_at_first(task_type: TaskType, goal: str) -> set[str]:
    """Where the target must not lie at first: in the goal, or where it would be cold already."""
    return {goal, "Fridge"} if task_type == "pick_cool_then_place_in_recep" else {goal}


def _places(room: Room, thing: str, without: set[str]) -> Mapping[str, float]:
    shares = PLACES[room.kind][thing]
    return {type_: share for type_, share in shares.items() if type_ in room.types and type_ not in without}


def _draw_items(
    room: Room, task_type: TaskType, target: str, goal: str, size: Size, rng: random.Random
) -> tuple[Item, ...]:
    count = rng.randint(*EXTENTS[size][room.kind].objects)
    types = _draw_types(room, task_type, target, count, size, rng)
    ids = make_ids(types, rng)
    names = game_names(zip(types, ids, strict=True))
    items = []
    for type_, id_ in zip(types, ids, strict=True):
        places = _places(room, type_, _not_at_first(task_type, goal) if type_ == target else set())
        place = rng.choices(list(places), list(places.values()))[0]
        items.append(Item(type_, id_, names[id_], rng.choice(room.of_type(place))))
    return tuple(items)


def _draw_types(room: Room, task_type: TaskType, target: str, count: int, size: Size, rng: random.Random) -> list[str]:
    needed = 2 if task_type == "pick_two_obj_and_place" else 1
    types, most = [target] * (needed + rng.randrange(2)), _MOST_OF_A_TYPE
    if size == "varied":
        most = _MOST_IN_VARIED
        while len(types) < most and rng.random() < _ANOTHER:
            types.append(target)
    if task_type == "look_at_obj_in_light":
        types.append(LAMP)
    others = [thing for thing in PLACES[room.kind] if thing != target and _places(room, thing, set())]
    pool = [thing for thing in others for _ in range(1 if thing in NOT_PORTABLE else most)]
    if LAMP in types:
        pool.remove(LAMP)
    return types + rng.sample(pool, min(count - len(types), len(pool)))


class _Walk:
    """Commands collected while walking through the room."""

    def __init__(self, start: str) -> None:
        self.commands: list[str] = []
        self._spot = start
        self._opened: set[str] = set()

    def go(self, place: Receptacle) -> None:
        if self._spot != place.location:
            self.commands.append(f"go to {place.name}")
            self._spot = place.location

    def reach_into(self, place: Receptacle) -> None:
        self.go(place)
        if place.openable and place.name not in self._opened:
            self.commands.append(f"open {place.name}")
            self._opened.add(place.name)

    def carry(self, item: Item, place: Receptacle, treatment: tuple[str, Receptacle] | None = None) -> None:
        self.reach_into(item.where)
        self.commands.append(f"take {item.name} from {item.where.name}")
        if treatment:
            verb, tool = treatment
            self.go(tool)
            self.commands.append(f"{verb} {item.name} with {tool.name}")
        self.reach_into(place)
        self.commands.append(f"move {item.name} to {place.name}")

    def look_at(self, item: Item, lamp: Item) -> None:
        self.reach_into(item.where)
        self.commands.append(f"take {item.name} from {item.where.name}")
        self.go(lamp.where)
        self.commands.append(f"use {lamp.name}")


def _plans(
    room: Room, task_type: TaskType, target: str, goal: str, items: tuple[Item, ...]
) -> Iterator[tuple[str, ...]]:
    """One plan for every way to choose the objects and receptacles involved."""
    targets = [item for item in items if item.type == target]
    if task_type == "look_at_obj_in_light":
        lamps = [item for item in items if item.type == LAMP]
        for item, lamp in product(targets, lamps):
            walk = _Walk(room.start)
            walk.look_at(item, lamp)
            yield tuple(walk.commands)
        return
    needed = 2 if task_type == "pick_two_obj_and_place" else 1
    for chosen, place, treatment in product(
        permutations(targets, needed), room.of_type(goal), _treatments(room, task_type)
    ):
        walk = _Walk(room.start)
        for item in chosen:
            walk.carry(item, place, treatment)
        yield tuple(walk.commands)


def _treatments(room: Room, task_type: TaskType) -> list[tuple[str, Receptacle] | None]:
    treatment = TREATMENTS.get(task_type)
    return [(treatment.verb, tool) for tool in room.of_type(treatment.tool)] if treatment else [None]
