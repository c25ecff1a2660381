"""Lists of places that were looked into, in reasons."""

import re
from dataclasses import replace

import pytest

from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.lists import with_lists
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.random_play import play_at_random
from agentprm_dagster.envs.textworld.kind import KIND as TEXTWORLD
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.rollouts.listing import listing

FIRST = "You see a desk 1, a drawer 2, and a drawer 1.\n\nYour task is to: put a pen in desk."
PLAYED = [
    ("I look for a pen.", "go to drawer 1", "You arrive at drawer 1. The drawer 1 is closed."),
    (
        "I look for a pen. The drawer 1 is closed.",
        "open drawer 1",
        "You open the drawer 1. The drawer 1 is open. In it, you see nothing.",
    ),
    ("I look for a pen.", "go to desk 1", "You arrive at desk 1. On the desk 1, you see a cup 1."),
    ("I look for a second pen.", "go to desk 1", "Nothing happens."),
    (
        "The desk 1 may be at hand. I look for a pen.",
        "go to drawer 2",
        "You arrive at drawer 2. On the drawer 2, you see a pen 1.",
    ),
    ("Here is pen 1.", "take pen 1 from drawer 2", "You pick up the pen 1 from the drawer 2."),
    ("I bring pen 1 to a desk.", "go to desk 1", "You arrive at desk 1. On the desk 1, you see a cup 1."),
    ("I look for a second pen.", "go to bed 1", "Nothing happens."),
]
LISTED = [
    "I look for a pen.",
    "I look for a pen. The drawer 1 is closed.",
    "I look for a pen. Seen: drawer 1.",
    "I look for a second pen. Seen: drawer 1 desk 1.",
    "The desk 1 may be at hand. I look for a pen. Seen: drawer 1 desk 1.",
    "Here is pen 1.",
    "I bring pen 1 to a desk.",
    "I look for a second pen. Seen: drawer 1 desk 1 drawer 2.",
]


def played(first: str = FIRST, start: int = 0) -> Episode:
    turns = [
        Turn(reason, action, observation, write_answer(reason, action), admissible=observation != "Nothing happens.")
        for reason, action, observation in PLAYED
    ]
    return Episode("e", "g", "k", first, tuple(turns), reward=0.0, start=start, truncated=True)


def test_every_list_by_hand() -> None:
    found = with_lists(played())
    assert [turn.reason for turn in found.turns] == LISTED
    for turn, before in zip(found.turns, played().turns, strict=True):
        assert turn == replace(before, reason=turn.reason, response=write_answer(turn.reason, turn.action))


def test_what_an_episode_has_inherited_stays() -> None:
    reasons = [turn.reason for turn in with_lists(played(start=4)).turns]
    assert reasons == [*(reason for reason, _, _ in PLAYED[:4]), *LISTED[4:]]


def test_anothers_last_list_is_gone_on_with() -> None:
    episode = played(start=4)
    said = "I look for a second pen. Seen: bed 1 drawer 1 bed 1."
    turns = [replace(turn, reason=said) if t == 3 else turn for t, turn in enumerate(episode.turns)]
    reasons = [turn.reason for turn in with_lists(replace(episode, turns=tuple(turns))).turns]
    assert reasons[3:5] == [said, "The desk 1 may be at hand. I look for a pen. Seen: bed 1 drawer 1 bed 1."]
    assert reasons[7] == "I look for a second pen. Seen: bed 1 drawer 1 bed 1 drawer 2 desk 1."


def test_lists_are_what_the_engine_has_shown(household_games: list[PlayableGame]) -> None:
    told = 0
    for i, game in enumerate(household_games):
        walk = with_lists(play_at_random(game, episode_id="w", max_steps=40, mistakes=0.2, seed=i))
        environment = game.environment()
        places = re.findall(r"\ban? (\w+ \d+)", environment.reset().text)
        shown: list[str] = []
        for turn in walk.turns:
            answer = parse_answer(turn.response)
            assert (answer.reason, answer.action) == (turn.reason, turn.action)
            if "I look for" in turn.reason:
                told += "Seen: " in turn.reason
                seen = turn.reason.partition("Seen: ")[2].partition(".")[0].split()
                assert [" ".join(pair) for pair in zip(seen[::2], seen[1::2], strict=True)] == shown
            text = environment.step(turn.action).text
            shown += [
                place for place in places
                if (f"On the {place}, you see" in text or f"The {place} is open. In it" in text) and place not in shown
            ]  # fmt: skip
    assert told > 50


def test_a_kind_that_keeps_no_list_is_refused() -> None:
    with pytest.raises(TypeError, match="textworld"):
        listing([], TEXTWORLD)
    assert listing([played()], KIND) == [with_lists(played())]
