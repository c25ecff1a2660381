"""The order in which a demonstrator looks for things: rates by hand, and what it does next."""

import pytest

from agentprm_dagster.envs.alfworld.search_order import SearchOrder
from agentprm_dagster.episodes.records import Episode, Turn

ROOM = "You see a bed 1, a desk 2, a desk 1, a safe 1, and a shelf 1.\n\nYour task is to: "
BED = "You arrive at bed 1. On the bed 1, you see nothing."
DESK = "You arrive at desk 1. On the desk 1, you see a pen 2, and a pen 1."
SAFE = "You arrive at safe 1. The safe 1 is closed."
OPENED = "You open the safe 1. The safe 1 is open. In it, you see a pen 1."
TAKEN = "You pick up the pen 1 from the desk 1."
SHELF = "You arrive at shelf 1. On the shelf 1, you see nothing."
MOVED = "You move the pen 1 to the shelf 1."
PLAN = ["go to safe 1", "open safe 1", "take pen 1 from safe 1", "go to shelf 1", "move pen 1 to shelf 1"]
TWO = [*PLAN, "go to bed 1", "take pen 2 from bed 1", "go to shelf 1", "move pen 2 to shelf 1"]
LAMP = "You arrive at desk 2. On the desk 2, you see a desklamp 1."
LOOK = ["go to safe 1", "open safe 1", "take pen 1 from safe 1", "go to desk 2", "use desklamp 1"]
NOTHING = "Nothing happens."


def episode(task: str, *turns: tuple[str, str]) -> Episode:
    told = tuple(Turn("", action, observation, "") for action, observation in turns)
    return Episode("e", "g", "k", ROOM + task, told, reward=1.0)


def ordered(*episodes: Episode) -> SearchOrder:
    return SearchOrder(episodes)


IN_SAFE = episode(
    "put a pen in shelf.",
    ("go to safe 1", SAFE),
    ("open safe 1", OPENED),
    ("take pen 1 from safe 1", "You pick up the pen 1 from the safe 1."),
    ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see nothing."),
    ("move pen 1 to shelf 1", MOVED),
)
ON_BED = episode(
    "put a pen in shelf.",
    ("go to bed 1", BED.replace("nothing", "a pen 1")),
    ("take pen 1 from bed 1", "You pick up the pen 1 from the bed 1."),
)
LIT = episode(
    "look at pen under the desklamp.",
    ("go to bed 1", BED.replace("nothing", "a pen 1")),
    ("take pen 1 from bed 1", "You pick up the pen 1 from the bed 1."),
    ("go to desk 2", LAMP),
    ("use desklamp 1", "You turn on the desklamp 1."),
)


def test_where_something_was_found_more_often_comes_first() -> None:
    assert ordered(ON_BED).order(ROOM + "put a pen in shelf.", "pen")[0] == "bed 1"
    assert ordered(IN_SAFE, IN_SAFE).order(ROOM + "put a pen in desk.", "pen")[0] == "safe 1"


def test_a_closed_place_takes_two_commands_to_look_into() -> None:
    assert ordered(IN_SAFE, ON_BED).order(ROOM + "put a pen in shelf.", "pen")[:2] == ["bed 1", "safe 1"]
    twice = ordered(IN_SAFE, IN_SAFE, IN_SAFE, ON_BED)
    assert twice.order(ROOM + "put a pen in shelf.", "pen")[:2] == ["safe 1", "bed 1"], "three times as often"


def test_of_two_places_of_a_type_each_is_half_as_likely() -> None:
    at_desk = episode(
        "put a pen in shelf.", ("go to desk 2", DESK), ("take pen 1 from desk 2", TAKEN.replace("desk 1", "desk 2"))
    )
    found = ordered(at_desk, ON_BED).order(ROOM + "put a pen in shelf.", "pen")
    assert found[:3] == ["bed 1", "desk 1", "desk 2"]


def test_what_is_known_of_others_speaks_for_what_was_never_looked_for() -> None:
    assert ordered(ON_BED).order(ROOM + "put a watch in shelf.", "watch")[0] == "bed 1"


def test_where_the_task_wants_it_nothing_is_looked_for_unless_it_is_treated_first() -> None:
    order = ordered(ON_BED, ON_BED)
    assert order.order(ROOM + "put a pen in bed.", "pen")[-1] == "bed 1"
    assert order.order(ROOM + "put a clean pen in bed.", "pen")[0] == "bed 1"


def test_nothing_at_all_is_known() -> None:
    assert ordered().order(ROOM + "put a pen in shelf.", "pen") == ["bed 1", "desk 1", "desk 2", "safe 1", "shelf 1"]


@pytest.mark.parametrize(
    ("task", "plan", "observations", "commands"),
    [
        ("put a pen in shelf.", PLAN, [], ["go to bed 1"]),
        ("put a pen in shelf.", PLAN, [BED], ["go to safe 1"]),
        ("put a pen in shelf.", PLAN, [BED, SAFE], ["open safe 1"]),
        ("put a pen in shelf.", PLAN, [BED, SAFE, NOTHING], ["open safe 1"]),
        ("put a pen in shelf.", PLAN, [BED, SAFE, OPENED], ["take pen 1 from safe 1"]),
        ("put a pen in shelf.", PLAN, [DESK], ["take pen 1 from desk 1"]),
        ("put a pen in shelf.", PLAN, [DESK, TAKEN], ["go to shelf 1", "move pen 1 to shelf 1"]),
        ("put a pen in shelf.", PLAN, [DESK, BED], ["go to desk 1"]),
        ("put two pen in shelf.", TWO, [DESK, TAKEN, SHELF, MOVED], ["go to desk 1"]),
        ("put two pen in shelf.", TWO, [BED, DESK.replace("a pen 2, and ", ""), TAKEN, MOVED], ["go to safe 1"]),
        (
            "put two pen in shelf.",
            TWO,
            [DESK, TAKEN, MOVED, DESK.replace("pen 1", "cup 1"), TAKEN.replace("pen 1", "pen 2")],
            ["go to shelf 1", "move pen 2 to shelf 1"],
        ),
        ("look at pen under the desklamp.", LOOK, [DESK, TAKEN], ["go to desk 2"]),
        ("look at pen under the desklamp.", LOOK, [LAMP, DESK, TAKEN], ["go to desk 2"]),
        ("look at pen under the desklamp.", LOOK, [DESK, TAKEN, LAMP], ["use desklamp 1"]),
        ("put a pen in shelf.", PLAN, [BED, "You pick up the cup 1 from the bed 1."], ["move cup 1 to bed 1"]),
        ("put a pen in shelf.", [], [DESK, TAKEN], []),
    ],
)
def test_what_is_done_next_by_hand(task: str, plan: list[str], observations: list[str], commands: list[str]) -> None:
    turns = [Turn("", "", observation, "") for observation in observations]
    order = ordered(*[LIT] * 9) if task.startswith("look") else ordered(ON_BED, ON_BED, IN_SAFE)
    assert order.next_commands(ROOM + task, turns, plan) == commands


def test_all_was_looked_into_and_nothing_found() -> None:
    seen = [f"You arrive at {place}. On the {place}, you see nothing." for place in ("bed 1", "desk 1")]
    turns = [Turn("", "", observation, "") for observation in seen]
    first = "You see a bed 1, and a desk 1.\n\nYour task is to: put a pen in shelf."
    assert ordered(ON_BED).next_commands(first, turns, PLAN) == []
