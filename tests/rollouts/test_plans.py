"""Plans: what is left of a won episode, and what is done where a command of it cannot be."""

from dataclasses import replace

import pytest

from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.search import instead, without_search
from agentprm_dagster.episodes.records import Episode, Observation
from agentprm_dagster.rollouts.demonstrations import Demonstration, demonstrate
from agentprm_dagster.rollouts.plans import do_planned, plan_of

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


@pytest.fixture(scope="module")
def shown(household_games: list[PlayableGame]) -> list[Episode]:
    return [
        demonstrate(game, KIND, episode_id="e", expert="handcoded_corrected", max_steps=50, seed=i)
        for i, game in enumerate(household_games)
    ]


def test_a_plan_wins_and_goes_where_it_has_to_for_what_was_left_out(
    shown: list[Episode], household_games: list[PlayableGame]
) -> None:
    tried = 0
    for episode, game in zip(shown, household_games, strict=True):
        plan = plan_of(episode, KIND)
        named = not any(command.startswith("use ") for command in plan)  # a lamp's place is not
        places = [command for command in plan if named and command.startswith(("go to", "open"))]
        for left_out in [None, *places] if episode.won else []:
            play = Demonstration(game, KIND, max_steps=50, seed=0)
            took = next(i for i, command in enumerate(plan) if command.startswith("take"))
            rest = [command for i, command in enumerate(plan) if command != left_out or i < took]
            assert do_planned(play, rest, KIND)
            assert play.observation.won
            tried += 1
    assert tried > len(household_games)


def test_what_cannot_be_done_ends_the_plan(household_games: list[PlayableGame]) -> None:
    play = Demonstration(household_games[0], KIND, max_steps=50, seed=0)
    assert not do_planned(play, ["look", "use desklamp 9", "look"], KIND)
    assert [turn.action for turn in play.turns] == ["look"]


def test_no_more_is_done_than_there_are_steps(household_games: list[PlayableGame]) -> None:
    play = Demonstration(household_games[0], KIND, max_steps=2, seed=0)
    do_planned(play, ["look"] * 5, KIND)
    assert len(play.turns) == 2


def test_what_was_just_refused_is_not_tried_again(shown: list[Episode], household_games: list[PlayableGame]) -> None:
    """Somebody stands at a place, has tried to go there, and a plan wants to go there too."""
    tried = 0
    for episode, game in zip(shown, household_games, strict=True):
        arrived = next(t for t, turn in enumerate(episode.turns, start=1) if turn.action.startswith("go to"))
        turn = episode.turns[arrived - 1]
        place = turn.action.removeprefix("go to ")
        again = replace(turn, observation="Nothing happens.", admissible=False)
        for plan in ([turn.action], [f"examine {place}"], ["look"]):
            play = Demonstration(game, KIND, max_steps=50, seed=0)
            play.repeat([*episode.turns[:arrived], again])
            assert play.refused == turn.action
            do_planned(play, plan, KIND)
            own = play.turns[arrived + 1 :]
            assert [each.action for each in own] == [f"examine {place}", *(["look"] * (plan == ["look"]))]
            assert own[0].reason.startswith(f"The {place} may be at hand.")
            tried += 1
    assert tried
