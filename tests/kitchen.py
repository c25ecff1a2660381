"""A hand-made kitchen with the domain and the grammar of the installed alfworld: a game file for every task type."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from alfworld.gen.goal_library import gdict

from agentprm_dagster.envs.alfworld.tasks import TaskType

RECEPTACLES = {
    "Fridge_bar_1": ("FridgeType", "loc_bar_1"),
    "Microwave_bar_1": ("MicrowaveType", "loc_bar_2"),
    "Sink_bar_1_bar_SinkBasin": ("SinkBasinType", "loc_bar_3"),
    "CounterTop_bar_1": ("CounterTopType", "loc_bar_4"),
    "Shelf_bar_1": ("ShelfType", "loc_bar_4"),
    "Shelf_bar_2": ("ShelfType", "loc_bar_5"),
}
THINGS = {
    "Apple_bar_1": ("AppleType", "Fridge_bar_1"),
    "Apple_bar_2": ("AppleType", "CounterTop_bar_1"),
    "Mug_bar_1": ("MugType", "Shelf_bar_1"),
    "Knife_bar_1": ("KnifeType", "CounterTop_bar_1"),
    "DeskLamp_bar_1": ("DeskLampType", "Shelf_bar_2"),
    "Spoon_bar_1": ("SpoonType", "Shelf_bar_1"),
}
FACTS = """
(atLocation agent1 loc_bar_0)
(openable Fridge_bar_1) (openable Microwave_bar_1)
(pickupable Apple_bar_1) (pickupable Apple_bar_2) (pickupable Mug_bar_1) (pickupable Knife_bar_1)
(pickupable Spoon_bar_1)
(isReceptacleObject Mug_bar_1) (inReceptacleObject Spoon_bar_1 Mug_bar_1)
(cleanable Apple_bar_1) (cleanable Apple_bar_2) (cleanable Mug_bar_1)
(heatable Apple_bar_1) (heatable Apple_bar_2)
(coolable Apple_bar_1) (coolable Apple_bar_2)
(sliceable Apple_bar_1) (sliceable Apple_bar_2)
(toggleable DeskLamp_bar_1)
(isCool Apple_bar_1)
"""
TASKS: dict[TaskType, str] = {
    "pick_and_place_simple": "put a mug in countertop",
    "look_at_obj_in_light": "look at mug under the desklamp",
    "pick_clean_then_place_in_recep": "put a clean apple in shelf",
    "pick_heat_then_place_in_recep": "put a hot apple in shelf",
    "pick_cool_then_place_in_recep": "put a cool apple in shelf",
    "pick_two_obj_and_place": "put two apple in shelf",
}


def kitchen(task_type: TaskType = "pick_and_place_simple") -> dict[str, Any]:
    """A game file's content, with the domain and the grammar of the installed alfworld."""
    task = TASKS[task_type]
    wanted = {"obj": "Mug" if "mug" in task else "Apple", "recep": "CounterTop" if "mug" in task else "Shelf"}
    goal = gdict[task_type]["pddl"].replace("#", "-").format(**wanted, toggle="DeskLamp", mrecep="")
    data = files("alfworld") / "data"
    return {
        "pddl_domain": (data / "alfred.pddl").read_text(),
        "grammar": (data / "alfred.twl2").read_text().replace("UNKNOWN GOAL", task),
        "pddl_problem": problem(goal),
        "solvable": True,
        "walkthrough": ["look"],
    }


def problem(goal: str) -> str:
    """The kitchen in PDDL, with a goal."""
    rtypes = sorted({kind for kind, _ in RECEPTACLES.values()})
    otypes = sorted({kind for kind, _ in THINGS.values()} | {"ButterKnifeType"})
    objects = {
        "agent": ["agent1"],
        "location": [f"loc_bar_{number}" for number in range(6)],
        "rtype": rtypes,
        "otype": otypes,
        "receptacle": RECEPTACLES,
        "object": THINGS,
    }
    facts = [FACTS]
    facts += (f"(receptacleType {r} {kind}) (receptacleAtLocation {r} {at})" for r, (kind, at) in RECEPTACLES.items())
    for thing, (kind, receptacle) in THINGS.items():
        place = RECEPTACLES[receptacle][1]
        facts.append(
            f"(objectType {thing} {kind}) (inReceptacle {thing} {receptacle}) (objectAtLocation {thing} {place})"
        )
    facts += (f"(canContain {rtype} {otype})" for rtype in rtypes for otype in otypes if otype != "DeskLampType")
    declared = "\n".join(f"{' '.join(names)} - {kind}" for kind, names in objects.items())
    # goal_library's goals close the problem's own bracket
    return f"(define (problem kitchen) (:domain alfred) (:objects\n{declared}\n) (:init\n{' '.join(facts)}\n) {goal}"


def write(folder: Path, content: Any, task_type: TaskType = "pick_and_place_simple") -> Path:
    """Writes a game file where alfworld would have it; text as it is, all else as JSON."""
    trial = folder / f"{task_type}-Mug-None-CounterTop-1" / "trial_1"
    trial.mkdir(parents=True)
    (trial / "traj_data.json").write_text(json.dumps({"task_type": task_type}))
    path = trial / "game.tw-pddl"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
