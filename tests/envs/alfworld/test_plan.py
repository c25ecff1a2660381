"""Plans: what is left of a won episode, what is done with what is held, and where a command cannot be done."""

import pytest

from agentprm_dagster.envs.alfworld.plan import instead, with_held, without_search
from agentprm_dagster.envs.alfworld.reasons import Progress
from agentprm_dagster.envs.alfworld.tasks import parse_task
from agentprm_dagster.episodes.records import Observation, Turn

SEARCH = [
    "look",
    "go to desk 1",
    "go to drawer 1",
    "open drawer 1",
    "close drawer 1",
    "go to fridge 1",
    "open fridge 1",
    "take apple 1 from fridge 1",
    "close fridge 1",
    "go to shelf 1",
    "go to fridge 1",
    "cool apple 1 with fridge 1",
    "go to shelf 2",
    "move apple 1 to shelf 2",
]


def test_all_that_found_nothing_is_left_out() -> None:
    assert without_search(SEARCH) == [
        "go to fridge 1",
        "open fridge 1",
        "take apple 1 from fridge 1",
        "cool apple 1 with fridge 1",  # without going there again, where it still is
        "go to shelf 2",
        "move apple 1 to shelf 2",
    ]


@pytest.mark.parametrize(
    ("command", "admitted", "done"),
    [
        ("go to cabinet 2", ("open cabinet 2", "examine cabinet 2"), ["go to cabinet 2", "examine cabinet 2"]),
        ("go to shelf 2", ("examine shelf 2",), ["go to shelf 2", "examine shelf 2"]),
        ("go to shelf 2", ("examine shelf 3",), None),
        ("open cabinet 2", ("close cabinet 2",), []),
        ("open cabinet 2", ("close cabinet 3",), None),
        ("open cabinet 2", ("go to cabinet 2",), ["go to cabinet 2", "open cabinet 2"]),
        ("take mug 1 from cabinet 2", ("open cabinet 2",), ["open cabinet 2", "take mug 1 from cabinet 2"]),
        ("move mug 1 to cabinet 2", ("open cabinet 2",), ["open cabinet 2", "move mug 1 to cabinet 2"]),
        ("move mug 1 to cabinet 2", ("go to cabinet 2",), ["go to cabinet 2", "move mug 1 to cabinet 2"]),
        ("heat mug 1 with microwave 1", ("go to microwave 1",), ["go to microwave 1", "heat mug 1 with microwave 1"]),
        ("heat mug 1 with microwave 1", ("go to fridge 1",), None),
        ("use desklamp 1", ("go to desk 1",), None),
    ],
)
def test_what_is_done_instead(command: str, admitted: tuple[str, ...], done: list[str] | None) -> None:
    assert instead(command, Observation("", admitted, 0.0, done=False)) == done


PLAN = [
    "go to desk 1",
    "take apple 2 from desk 1",
    "go to fridge 1",
    "open fridge 1",
    "cool apple 2 with fridge 1",
    "go to shelf 1",
    "move apple 2 to shelf 1",
]
WITH_PEN = ["go to bed 1", "take pen 1 from bed 1", "move pen 1 to bed 1", *PLAN]
TWO = [
    "go to desk 1",
    "take apple 2 from desk 1",
    "go to shelf 1",
    "move apple 2 to shelf 1",
    "go to bed 1",
    "take apple 3 from bed 1",
    "go to shelf 2",
    "move apple 3 to shelf 2",
]
BED = "You arrive at bed 1. On the bed 1, you see nothing."
TAKEN = "You pick up the apple 1 from the bed 1."
COOLED = "You cool the apple 1 using the fridge 1."
OTHER = "You pick up the pen 1 from the bed 1."
COOL, PUT_TWO = "put a cool apple in shelf", "put two apple in shelf"


@pytest.mark.parametrize(
    ("task", "plan", "observations", "done"),
    [
        (COOL, PLAN, [TAKEN], [each.replace("apple 2", "apple 1") for each in PLAN[2:]]),
        (COOL, WITH_PEN, [TAKEN], [each.replace("apple 2", "apple 1") for each in PLAN[2:]]),
        (COOL, PLAN, [TAKEN, COOLED], ["go to shelf 1", "move apple 1 to shelf 1"]),
        (COOL, [*PLAN[:2], *PLAN[5:]], [TAKEN, COOLED], ["go to shelf 1", "move apple 1 to shelf 1"]),
        (COOL, PLAN, [BED, OTHER], ["move pen 1 to bed 1"]),
        (COOL, PLAN, [OTHER], []),
        (COOL, PLAN, [BED], []),
        (COOL, [], [TAKEN], []),
        (COOL, PLAN[:5], [TAKEN], []),
        (PUT_TWO, TWO, ["You pick up the apple 3 from the bed 1."], TWO[6:]),
        (PUT_TWO, TWO, [TAKEN], ["go to shelf 1", "move apple 1 to shelf 1"]),
        (PUT_TWO, TWO, ["You move the apple 2 to the shelf 1.", TAKEN], ["go to shelf 2", "move apple 1 to shelf 2"]),
        (
            PUT_TWO,
            TWO,
            ["You move the apple 3 to the shelf 2.", "You move the apple 2 to the shelf 1.", TAKEN],
            ["go to shelf 2", "move apple 1 to shelf 2"],
        ),
        (PUT_TWO, TWO, ["You move the apple 3 to the shelf 2.", TAKEN], ["go to shelf 1", "move apple 1 to shelf 1"]),
    ],
)
def test_what_is_done_with_what_is_held_by_hand(
    task: str, plan: list[str], observations: list[str], done: list[str]
) -> None:
    turns = [Turn("", "", observation, "") for observation in observations]
    assert with_held(Progress(parse_task(f"Your task is to: {task}."), turns), plan) == done
