"""An expert's plan behind turns of somebody else's episode."""

from dataclasses import replace

import pytest

from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.random_play import play_at_random
from agentprm_dagster.envs.textworld.kind import KIND as TEXTWORLD
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.corrections import corrections
from agentprm_dagster.rollouts.demonstrations import Demonstration, collect_demonstrations


@pytest.fixture(scope="module")
def strayed(household_games: list[PlayableGame]) -> list[Episode]:
    """By somebody who does anything."""
    return [
        play_at_random(game, episode_id=f"{game.id}#s{i}", max_steps=20, mistakes=0.2, seed=i)
        for game in household_games
        for i in range(3)
    ]


@pytest.fixture(scope="module")
def shown(household_games: list[PlayableGame]) -> dict[str, Episode]:
    count = len(household_games)
    episodes = collect_demonstrations(
        household_games,
        KIND,
        expert="handcoded_corrected",
        episodes=count,
        max_steps=50,
        seed=0,
        monitor=SilentMonitor(),
    )
    return {episode.game: episode for episode in episodes if episode.won}


def corrected(
    episodes: list[Episode], games: list[PlayableGame], shown: dict[str, Episode], states: int = 3
) -> list[Episode]:
    return corrections(
        episodes,
        {game.id: game for game in games},
        shown,
        KIND,
        states=states,
        states_of_lost=2 * states,
        more_steps=30,
        seed=0,
        monitor=SilentMonitor(),
    )


def test_corrections_win_from_where_the_policy_was(
    strayed: list[Episode], household_games: list[PlayableGame], shown: dict[str, Episode]
) -> None:
    found = corrected(strayed, household_games, shown)
    assert len(found) > len(strayed)
    by_id, games = {each.episode_id: each for each in strayed}, {game.id: game for game in household_games}
    for episode in found:
        assert episode.won
        name, _, turn = episode.episode_id.rpartition("@")
        assert episode.start == int(turn)
        assert episode.turns[: episode.start] == by_id[name].turns[: episode.start]
        environment = games[episode.game].environment()
        environment.reset()
        replies = [environment.step(turn.action) for turn in episode.turns]
        assert [reply.text for reply in replies] == [turn.observation for turn in episode.turns]
        assert replies[-1].won
        assert len(episode.own_turns) <= 14, "without search"
    assert corrected(strayed, household_games, shown) == found


def test_only_games_that_the_expert_wins_are_corrected(
    strayed: list[Episode], household_games: list[PlayableGame], shown: dict[str, Episode]
) -> None:
    one = next(iter(shown))
    assert {each.game for each in corrected(strayed, household_games, {one: shown[one]})} == {one}
    assert not corrected(strayed, household_games, {})


def test_lost_episodes_are_corrected_more_often_and_behind_refused_commands(
    strayed: list[Episode], household_games: list[PlayableGame], shown: dict[str, Episode]
) -> None:
    calm = [
        play_at_random(game, episode_id=f"{game.id}#c", max_steps=20, mistakes=0.0, seed=i)
        for i, game in enumerate(household_games)
    ]
    once, twice = (
        len(corrected([replace(each, reward=reward) for each in calm], household_games, shown, 2))
        for reward in (1.0, 0.0)
    )
    assert 1.5 * once < twice <= 2.5 * once
    few = corrected([replace(each, reward=1.0) for each in strayed], household_games, shown, 1)
    behind = [episode for episode in few if not episode.turns[episode.start - 1].admissible]
    assert len(behind) > len(strayed) / 2, "of commands a fifth is refused"


def test_another_reply_is_refused(strayed: list[Episode], household_games: list[PlayableGame]) -> None:
    episode = strayed[0]
    play = Demonstration(household_games[0], KIND, max_steps=9, seed=0)
    with pytest.raises(RuntimeError, match="is replied"):
        play.repeat([replace(episode.turns[0], observation="Something else.")])


def test_who_does_not_know_what_is_left_is_refused() -> None:
    with pytest.raises(TypeError, match="textworld"):
        corrections([], {}, {}, TEXTWORLD, states=1, states_of_lost=1, more_steps=1, seed=0, monitor=SilentMonitor())
