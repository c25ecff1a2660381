"""Mistakes about places: where they lead, that nothing happens, and that the expert goes on."""

import random
import re

import pytest

from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.mistaken_places import draw_mistaken_places
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.rollouts.demonstrations import demonstrate

ROOM = "You see a desk 1, a shelf 2, a shelf 1, and a safe 1.\n\nYour task is to: put a hot apple in shelf."
LOOKS = re.compile(r"The \w+ \d+ may be at hand\.(?: A \w+ is at \w+ \d+\.)?")
ARRIVED = Turn("", "", "You arrive at desk 1. On the desk 1, you see a pen 1.", "")


def drawn(*turns: Turn) -> list[list[tuple[str, str]]]:
    return [list(draw_mistaken_places(ROOM, turns, random.Random(seed))) for seed in range(400)]


def test_nowhere_nothing_can_be_mistaken() -> None:
    assert drawn() == [[]] * 400


def test_where_one_is_one_more_of_a_type_and_what_the_room_does_not_have() -> None:
    firsts = [mistakes[0] for mistakes in drawn(ARRIVED)]
    assert {reason for reason, _ in firsts} == {"I look for a apple."}
    places = [action.removeprefix("go to ") for _, action in firsts]
    assert {"desk 1", "desk 2", "shelf 3", "safe 2"} <= set(places)
    assert not {"shelf 1", "shelf 2", "safe 1"} & set(places), "one can go there"
    others = [place for place in places if place.split()[0] not in ("desk", "shelf", "safe")]
    assert 100 < len(others) < 170
    assert {"fridge 1", "toilet 1", "bed 2"} <= set(others)
    assert 100 < places.count("desk 1") < 170


def test_a_room_that_is_not_listed_is_known_by_where_one_is() -> None:
    first = "You are facing the desk 1.\n\nYour task is to: put a hot apple in shelf."
    firsts = {next(draw_mistaken_places(first, [ARRIVED], random.Random(seed)))[1] for seed in range(100)}
    assert {"go to desk 1", "go to desk 2"} < firsts


def test_who_insists_does_so_about_the_same_place() -> None:
    lengths = [len(mistakes) for mistakes in drawn(ARRIVED)]
    assert 160 < lengths.count(1) < 240
    for mistakes in drawn(ARRIVED):
        place = mistakes[0][1].removeprefix("go to ")
        assert {action for _, action in mistakes} <= {f"{verb} {place}" for verb in ("go to", "examine", "open")}


@pytest.mark.parametrize("seed", range(2))
def test_the_expert_looks_at_what_is_at_hand_and_goes_on(household_games: list[PlayableGame], seed: int) -> None:
    mistaken = 0
    for game in household_games:
        plain, erring = (
            demonstrate(game, KIND, episode_id="e", expert="handcoded", max_steps=200, seed=seed, place_noise=share)
            for share in (0.0, 0.3)
        )
        looked = {t for t, turn in enumerate(erring.turns) if LOOKS.fullmatch(turn.reason)}
        mistakes = {t for t, turn in enumerate(erring.turns) if not turn.admissible} - looked
        mistaken += len(mistakes)
        assert {erring.turns[t].observation for t in mistakes} <= {"Nothing happens."}
        for t, turn in enumerate(erring.turns):
            if t not in mistakes:
                before = erring.turns[t - 1].action if t - 1 in mistakes else ""
                assert (t in looked) == before.startswith("go to ")
                assert t not in looked or turn.action == before.replace("go to", "examine")
        own = [turn for t, turn in enumerate(erring.turns) if t not in mistakes | looked]
        done = [(turn.action, turn.observation) for turn in own]
        assert done == [(turn.action, turn.observation) for turn in plain.turns]
    assert mistaken > 12
