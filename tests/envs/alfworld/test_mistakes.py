"""Mistakes mixed into demonstrations: what they say, that they change nothing, and that the expert goes on."""

import random

import pytest

from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.mistakes import draw_mistakes
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.rollouts.demonstrations import demonstrate

ROOM = "You are in a room with a desk 1 and a shelf 1.\n\nYour task is to: put a hot apple in shelf."
ARRIVED = "You arrive at desk 1. On the desk 1, you see a pen 1."
TAKEN = "You pick up the apple 2 from the desk 1."


def turns(*observations: str) -> list[Turn]:
    return [Turn(reason="", action="", observation=observation, response="") for observation in observations]


def drawn(*observations: str) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(draw_mistakes(ROOM, turns(*observations), random.Random(seed))) for seed in range(300)}


def test_nowhere_nothing_can_be_mistaken() -> None:
    assert drawn() == {()}


def test_what_is_not_here_is_taken_and_perhaps_believed_to_be_held() -> None:
    takes = [("Here is apple {}.", "take apple {} from desk 1")]
    heats = [*takes, ("I must heat apple {}.", "heat apple {} with desk 1")]
    moves = [*takes, ("I must heat apple {}.", "move apple {} to desk 1")]
    expected = {
        tuple((reason.format(i), action.format(i)) for reason, action in said)
        for i in (1, 2, 3)
        for said in (takes, heats, moves)
    }
    assert drawn(ARRIVED) == expected


def test_with_an_object_in_hand() -> None:
    said = {mistake for (mistake,) in drawn(ARRIVED, TAKEN)}
    assert said == {
        ("I must heat apple 2.", "move apple 2 to desk 1"),
        *((f"Here is apple {i}.", f"take apple {i} from desk 1") for i in (1, 2, 3)),
    }


@pytest.mark.parametrize("seed", range(2))
def test_the_expert_goes_on_as_if_nothing_had_happened(household_games: list[PlayableGame], seed: int) -> None:
    mistaken = 0
    for game in household_games:
        plain, erring = (
            demonstrate(game, KIND, episode_id="e", expert="handcoded", max_steps=200, seed=seed, action_noise=share)
            for share in (0.0, 0.3)
        )
        mistakes = [turn for turn in erring.turns if not turn.admissible]
        mistaken += len(mistakes)
        assert {turn.observation for turn in mistakes} <= {"Nothing happens."}
        assert all(parse_answer(turn.response).action == turn.action for turn in mistakes)
        done = [(turn.action, turn.observation) for turn in erring.turns if turn.admissible]
        assert done == [(turn.action, turn.observation) for turn in plain.turns]
        assert erring.won == plain.won
    assert mistaken > 12


def test_mistakes_count_as_turns(household_games: list[PlayableGame]) -> None:
    for game in household_games:
        episode = demonstrate(game, KIND, episode_id="e", expert="walkthrough", max_steps=6, seed=0, action_noise=1.0)
        assert len(episode.turns) <= 6
