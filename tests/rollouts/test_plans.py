"""Plans: played by somebody who knows the game."""

from dataclasses import replace

import pytest

from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.rollouts.demonstrations import Demonstration, demonstrate
from agentprm_dagster.rollouts.plans import do_planned, plan_of


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
