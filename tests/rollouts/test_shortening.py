"""Demonstrations with less search."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.envs.alfworld.games import find_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.search import instead, without_search
from agentprm_dagster.envs.base import EnvironmentKind
from agentprm_dagster.envs.textworld.kind import KIND as TEXTWORLD
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Observation
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.demonstrations import collect_demonstrations
from agentprm_dagster.rollouts.shortening import shortened

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


@pytest.fixture(scope="module")
def searched(household_games: list[PlayableGame]) -> list[Episode]:
    """By an expert who does not know where things are."""
    return collect_demonstrations(
        household_games, KIND, expert="handcoded", episodes=24, max_steps=50, seed=0, monitor=SilentMonitor()
    )


def shorter(
    episodes: list[Episode],
    games: list[PlayableGame],
    copies: int,
    most: float,
    seed: int = 0,
    kind: EnvironmentKind = KIND,
    action_noise: float = 0.0,
) -> list[Episode]:
    return shortened(
        episodes,
        games,
        kind,
        copies=copies,
        most=most,
        max_steps=50,
        seed=seed,
        monitor=SilentMonitor(),
        action_noise=action_noise,
    )


def test_all_that_found_nothing_is_left_out() -> None:
    assert without_search(SEARCH, 1.0, random.Random(0)) == [
        "go to fridge 1",
        "open fridge 1",
        "take apple 1 from fridge 1",
        "cool apple 1 with fridge 1",  # without going there again, where it still is
        "go to shelf 2",
        "move apple 1 to shelf 2",
    ]


def test_with_a_share_of_0_idle_commands_alone_are_left_out() -> None:
    kept = [action for action in SEARCH if action.split()[0] not in ("look", "close")]
    assert without_search(SEARCH, 0.0, random.Random(0)) == kept


@given(st.floats(0.05, 0.95))
def test_a_closed_place_is_left_out_more_often(share: float) -> None:
    """Whose visit takes k commands stays with a chance of (1 - share)^k."""
    draws = [without_search(SEARCH, share, random.Random(seed)) for seed in range(400)]
    for place, commands in (("go to desk 1", 1), ("go to drawer 1", 2)):
        stays = sum(place in draw for draw in draws) / len(draws)
        chance = (1 - share) ** commands
        assert stays == pytest.approx(chance, abs=5 * (chance * (1 - chance) / len(draws)) ** 0.5 + 1e-9)


@pytest.mark.parametrize(
    ("command", "admitted", "done"),
    [
        ("go to cabinet 2", ("open cabinet 2", "examine cabinet 2"), ["go to cabinet 2", "examine cabinet 2"]),
        ("go to shelf 2", ("examine shelf 2",), ["go to shelf 2", "examine shelf 2"]),
        ("go to shelf 2", ("examine shelf 3",), None),
        ("open cabinet 2", ("close cabinet 2",), []),
        ("open cabinet 2", ("close cabinet 3",), None),
        ("take mug 1 from cabinet 2", ("open cabinet 2",), None),
    ],
)
def test_a_place_that_is_at_hand_or_open_already(command: str, admitted: tuple[str, ...], done: list[str]) -> None:
    assert instead(command, Observation("", admitted, 0.0, done=False)) == done


def test_who_imitates_a_copy_sees_that_a_place_at_hand_cannot_be_gone_to(tmp_path: Path) -> None:
    generate_games(tmp_path, seed=0, counts={"train": 40}, size="medium")
    games = [PlayableGame(ref) for ref in find_games(tmp_path, "train")]
    shown = collect_demonstrations(
        games, KIND, expert="handcoded_corrected", episodes=40, max_steps=50, seed=0, monitor=SilentMonitor()
    )
    assert all(turn.admissible for episode in shown for turn in episode.turns)
    copies = [copy for copy in shorter(shown, games, 4, 0.3) if "~" in copy.episode_id]
    assert len(copies) == 4 * sum(episode.won for episode in shown)
    tried = [(turn, then) for copy in copies for turn, then in pairwise(copy.turns) if not turn.admissible]
    assert tried
    for turn, then in tried:
        place = turn.action.removeprefix("go to ")
        assert turn.observation == "Nothing happens."
        assert (then.action, then.reason) == (f"examine {place}", f"The {place} may be at hand.")


def test_copies_win_their_game_in_fewer_actions(searched: list[Episode], household_games: list[PlayableGame]) -> None:
    games = {game.id: game for game in household_games}
    by_id = {episode.episode_id: episode for episode in searched}
    copies = [copy for copy in shorter(searched, household_games, 2, 0.9) if "~" in copy.episode_id]
    assert len(copies) > len(searched) / 2
    for copy in copies:
        environment = games[copy.game].environment()
        observation = environment.reset()
        assert copy.first_observation == observation.text
        for turn in copy.turns:
            answer = parse_answer(turn.response)
            assert (answer.action, answer.reason) == (turn.action, turn.reason)
            assert observation.admits(turn.action) == turn.admissible
            observation = environment.step(turn.action)
            assert observation.text == turn.observation
        assert observation.won
        assert copy.won
        original = by_id[copy.episode_id.partition("~")[0]]
        assert len(copy.turns) <= len(original.turns)
        assert copy.game == original.game


def test_mistakes_stand_in_copies_and_are_recovered_from(
    searched: list[Episode], household_games: list[PlayableGame]
) -> None:
    copies = shorter(searched, household_games, 1, 0.9, action_noise=0.3)
    turns = [turn for copy in copies if "~" in copy.episode_id for turn in copy.turns]
    mistakes = [turn for turn in turns if not turn.admissible]
    assert 0.05 < len(mistakes) / len(turns) < 0.4
    assert {turn.observation for turn in mistakes} == {"Nothing happens."}
    assert all(copy.turns[-1].admissible for copy in copies if copy.won)


def test_every_demonstration_is_there_and_lost_ones_as_they_were(
    searched: list[Episode], household_games: list[PlayableGame]
) -> None:
    lost = Episode("lost#0", household_games[0].id, "k", "", (), reward=0.0)
    found = shorter([*searched, lost], household_games, 3, 0.9)
    assert {episode.episode_id.partition("~")[0] for episode in found} == {
        *(episode.episode_id for episode in searched),
        "lost#0",
    }
    assert lost in found
    assert len({episode.episode_id for episode in found}) == len(found)


def test_the_seed_alone_decides(searched: list[Episode], household_games: list[PlayableGame]) -> None:
    assert shorter(searched[:6], household_games, 2, 0.9, 1) == shorter(searched[:6], household_games, 2, 0.9, 1)
    assert shorter(searched[:6], household_games, 2, 0.9, 1) != shorter(searched[:6], household_games, 2, 0.9, 2)


def test_who_does_not_know_what_found_nothing_is_refused(searched: list[Episode]) -> None:
    with pytest.raises(TypeError, match="knows which commands found nothing, got textworld"):
        shorter(searched, [], 1, 0.5, kind=TEXTWORLD)
