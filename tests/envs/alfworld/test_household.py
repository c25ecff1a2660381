"""The household engine on a hand-made kitchen: every command, every task type, and the stock engine's word on it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.stock import StockEngine
from agentprm_dagster.envs.alfworld.tasks import TASK_TYPES, TaskType
from kitchen import TASKS, kitchen, write


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> dict[TaskType, Game]:
    folder = tmp_path_factory.mktemp("kitchens")
    return {kind: Game.load(write(folder, kitchen(kind), kind)) for kind in TASK_TYPES}


@pytest.fixture(scope="module")
def game(games: dict[TaskType, Game]) -> Game:
    return games["pick_clean_then_place_in_recep"]


SCRIPT = [
    ("look", "You are in the middle of a room. Looking quickly around you, you see nothing."),
    ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a desklamp 1."),
    ("look", "You are facing the shelf 1. Next to it, you see nothing."),
    ("use desklamp 1", "You turn on the desklamp 1."),
    ("use desklamp 1", "You turn on the desklamp 1."),
    ("examine desklamp 1", "Nothing happens."),
    ("take desklamp 1 from shelf 1", "Nothing happens."),
    ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a apple 1, and a knife 1."),
    ("go to shelf 2", "Nothing happens."),
    ("examine shelf 2", "On the shelf 2, you see a mug 1, and a spoon 1."),
    ("examine apple 1", "Nothing happens."),
    ("take knife 1 from countertop 1", "You pick up the knife 1 from the countertop 1."),
    ("slice apple 1 with knife 1", "You sliced the apple 1 with the knife 1."),
    ("move knife 1 to shelf 2", "You move the knife 1 to the shelf 2."),
    ("look", "You are facing the countertop 1, and shelf 2. Next to it, you see a knife 1."),
    ("take apple 1 from countertop 1", "You pick up the apple 1 from the countertop 1."),
    ("examine apple 1", "This is a sliced apple 1."),
    ("inventory", "You are carrying: a apple 1."),
    ("go to microwave 1", "You arrive at microwave 1. The microwave 1 is closed."),
    ("heat apple 1 with microwave 1", "You heat the apple 1 using the microwave 1."),
    ("examine apple 1", "This is a hot sliced apple 1."),
    ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed."),
    ("cool apple 1 with fridge 1", "You cool the apple 1 using the fridge 1."),
    ("examine apple 1", "This is a cool sliced apple 1."),
    ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a apple 2."),
    ("open fridge 1", "Nothing happens."),
    ("move apple 1 to fridge 1", "You move the apple 1 to the fridge 1."),
    ("inventory", "You are not carrying anything."),
    ("take apple 2 from fridge 1", "You pick up the apple 2 from the fridge 1."),
    ("examine apple 2", "This is a cold apple 2."),
    ("close fridge 1", "You close the fridge 1."),
    ("examine fridge 1", "The fridge 1 is closed."),
    ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see nothing."),
    ("move apple 2 to countertop 1", "You move the apple 2 to the countertop 1."),
    ("take mug 1 from shelf 2", "You pick up the mug 1 from the shelf 2."),
    ("go to sinkbasin 1", "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing."),
    ("clean mug 1 with sinkbasin 1", "You clean the mug 1 using the sinkbasin 1."),
    ("examine mug 1", "This is a normal mug 1. In it, you see a spoon 1."),
    (" move mug 1 to sinkbasin 1\n", "You move the mug 1 to the sinkbasin 1."),
    ("take  mug 1 from sinkbasin 1", "Nothing happens."),
    ("Look", "Nothing happens."),
    ("", "Nothing happens."),
]


def test_first_observation(game: Game) -> None:
    observation = Household(game).reset()
    assert observation.text == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a countertop 1, a fridge 1, "
        "a microwave 1, a shelf 2, a shelf 1, and a sinkbasin 1.\n\n"
        "Your task is to: put a clean apple in shelf."
    )
    assert observation.admissible_commands == (
        *("go to countertop 1", "go to fridge 1", "go to microwave 1", "go to shelf 1", "go to shelf 2"),
        *("go to sinkbasin 1", "help", "inventory", "look"),
    )
    assert not observation.won and not observation.done


def test_every_command_by_hand(game: Game) -> None:
    household = Household(game)
    for command, answer in SCRIPT:
        assert household.step(command).text == answer, command


def test_help_lists_the_commands(game: Game) -> None:
    text = Household(game).step("help").text
    assert text.startswith("Available commands:\n  look:") and text.endswith("using a sharp object\n")


def test_the_stock_engine_answers_the_same(game: Game) -> None:
    household = Household(game)
    with StockEngine(game.path) as stock:
        assert stock.reset() == household.reset()
        for command in [*(command for command, _ in SCRIPT), "help"]:
            assert stock.step(command) == household.step(command), command


def test_admissible_commands_with_an_object_in_hand(game: Game) -> None:
    household = Household(game)
    for command in ("go to countertop 1", "take apple 1 from countertop 1", "go to fridge 1", "open fridge 1"):
        observation = household.step(command)
    assert observation.admissible_commands == (
        *("close fridge 1", "cool apple 1 with fridge 1", "examine apple 1", "examine fridge 1", "go to countertop 1"),
        *("go to microwave 1", "go to shelf 1", "go to shelf 2", "go to sinkbasin 1", "help", "inventory", "look"),
        "move apple 1 to fridge 1",
    )


WINNING: dict[TaskType, tuple[str, ...]] = {
    "pick_and_place_simple": (*("go to shelf 2", "take mug 1 from shelf 2", "move mug 1 to countertop 1"),),
    "look_at_obj_in_light": (
        *("go to shelf 1", "use desklamp 1", "go to shelf 2", "take mug 1 from shelf 2", "go to shelf 1"),
    ),
    "pick_clean_then_place_in_recep": (
        *(
            "go to countertop 1",
            "take apple 1 from countertop 1",
            "move apple 1 to shelf 2",
            "take apple 1 from shelf 2",
        ),
        *("go to sinkbasin 1", "clean apple 1 with sinkbasin 1", "go to shelf 1", "move apple 1 to shelf 1"),
    ),
    "pick_heat_then_place_in_recep": (
        *("go to countertop 1", "take apple 1 from countertop 1", "go to microwave 1", "heat apple 1 with microwave 1"),
        *("go to fridge 1", "cool apple 1 with fridge 1", "go to shelf 1", "move apple 1 to shelf 1"),
        *("take apple 1 from shelf 1", "go to microwave 1", "heat apple 1 with microwave 1", "go to shelf 2"),
        "move apple 1 to shelf 2",
    ),
    "pick_cool_then_place_in_recep": (
        *("go to fridge 1", "open fridge 1", "take apple 2 from fridge 1", "go to shelf 1", "move apple 2 to shelf 1"),
    ),
    "pick_two_obj_and_place": (
        *("go to countertop 1", "take apple 1 from countertop 1", "move apple 1 to shelf 2", "go to fridge 1"),
        *("open fridge 1", "take apple 2 from fridge 1", "go to shelf 1", "move apple 2 to shelf 1"),
        *("take apple 2 from shelf 1", "go to shelf 2", "move apple 2 to shelf 2"),
    ),
}


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_a_game_is_won_by_its_last_command_and_then_stands_still(
    games: dict[TaskType, Game], task_type: TaskType
) -> None:
    game, household = games[task_type], Household(games[task_type])
    assert game.task_type == task_type and game.task == f"{TASKS[task_type]}."
    *before, last = (household.step(command) for command in WINNING[task_type])
    assert not any(observation.won or observation.done for observation in before)
    assert last.won and last.done
    assert household.step("look") == household.step("nonsense") == last
    assert not household.reset().won


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=40), st.integers(0, 40))
@settings(max_examples=60)
def test_restoring_a_snapshot_is_playing_the_same_commands_again(game: Game, choices: list[float], cut: int) -> None:
    household = Household(game)
    observation, commands = household.reset(), []
    snapshots = [household.snapshot()]
    for choice in choices:
        commands.append(observation.admissible_commands[int(choice * len(observation.admissible_commands))])
        observation = household.step(commands[-1])
        snapshots.append(household.snapshot())
    cut = min(cut, len(commands))
    again = Household(game)
    assert again.restore(snapshots[cut]) == snapshots[cut].observation
    for command, snapshot in zip(commands[cut:], snapshots[cut + 1 :], strict=True):
        assert again.step(command) == snapshot.observation
    assert again.snapshot() == snapshots[-1] and hash(again.snapshot()) == hash(snapshots[-1])


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=40))
@settings(max_examples=60)
def test_admissible_commands_are_sorted_and_do_something_and_others_do_nothing(
    game: Game, choices: list[float]
) -> None:
    household = Household(game)
    observation = household.reset()
    everything = {command for command, _ in SCRIPT}
    for choice in choices:
        admissible = observation.admissible_commands
        assert list(admissible) == sorted(set(admissible))
        here = household.snapshot()
        for command in everything - {" move mug 1 to sinkbasin 1\n"} - set(admissible):
            assert observation.done or household.step(command).text == "Nothing happens."
        assert household.snapshot().state == here.state
        household.restore(here)
        observation = household.step(admissible[int(choice * len(admissible))])
        assert observation.text != "Nothing happens."


def test_only_snapshots_are_restored(game: Game) -> None:
    with pytest.raises(TypeError, match=r"expected what Household\.snapshot\(\) answered, got 3"):
        Household(game).restore(3)


def test_facts_follow_the_commands(game: Game) -> None:
    household = Household(game)
    assert ("atlocation", ("agent1", "loc 6")) in household.facts()
    for command in ("go to countertop 1", "take apple 1 from countertop 1"):
        household.step(command)
    facts = household.facts()
    assert ("holds", ("agent1", "apple 1")) in facts
    assert ("not_inreceptacle", ("apple 1", "countertop 1")) in facts
    assert ("inreceptacle", ("apple 1", "countertop 1")) not in facts
    assert ("iscool", ("apple 2",)) in facts
    assert facts == sorted(facts)


def test_names_count_down_the_alphabet_of_ids(tmp_path: Path) -> None:
    content = kitchen()
    more = " ".join(f"(receptacleAtLocation Cabinet_bar_{n:02} loc_bar_5)" for n in range(11))
    names = " ".join(f"Cabinet_bar_{n:02}" for n in range(11))
    content["pddl_problem"] = (
        content["pddl_problem"]
        .replace("(:init", f"(:init {more}")
        .replace("(:objects", f"(:objects {names} - receptacle")
    )
    observation = Household(Game.load(write(tmp_path, content))).reset()
    assert "you see a cabinet 11, a cabinet 10, a cabinet 9, " in observation.text
    assert observation.admissible_commands[:3] == ("go to cabinet 1", "go to cabinet 10", "go to cabinet 11")


def test_a_thing_in_two_receptacles_is_in_both_until_it_is_taken_from_both(tmp_path: Path) -> None:
    content = kitchen()
    content["pddl_problem"] = content["pddl_problem"].replace("(:init", "(:init (inReceptacle Apple_bar_2 Shelf_bar_1)")
    household = Household(Game.load(write(tmp_path, content)))
    household.step("go to shelf 2")
    household.step("take apple 1 from shelf 2")
    assert household.step("examine countertop 1").text == "On the countertop 1, you see a apple 1, and a knife 1."
    household.step("move apple 1 to shelf 2")
    assert "take apple 1 from countertop 1" in household.snapshot().observation.admissible_commands
