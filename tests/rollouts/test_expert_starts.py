"""Episodes that begin where an expert has been: the very states, and nothing of the expert's is the policy's."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import scripted
from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode, State
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.tables import read_episodes, write_episodes
from agentprm_dagster.rollouts.collect import from_expert_states, whole_episodes
from agentprm_dagster.rollouts.rollout import Start, play
from scripted import Scripted, random_play

MAX_STEPS = 20


class Listening(Scripted):
    """Notes where its conversations begin."""

    def begin(self, slot: int, state: State) -> None:
        self.begun = [*getattr(self, "begun", []), (state.first_observation, tuple(state.turns), state.observation)]
        super().begin(slot, state)


@pytest.fixture(scope="module")
def shown(demonstrations: list[Episode]) -> dict[str, list[Episode]]:
    """What the walkthroughs show, but of the first game nothing."""
    return {episode.game: [episode] for episode in demonstrations[1:12]}


def moved(
    games: Sequence[PlayableGame], shown: dict[str, list[Episode]], share: float = 0.5, seed: int = 0
) -> list[Start]:
    return from_expert_states(whole_episodes(games, 4), shown, share=share, max_steps=MAX_STEPS, seed=seed)


def played(agent: Scripted, starts: Sequence[Start], patience: int | None = None) -> list[Episode]:
    return play(agent, starts, max_steps=MAX_STEPS, total=len(starts), monitor=SilentMonitor(), patience=patience)


def test_a_share_of_the_starts_is_moved(household_games: list[PlayableGame], shown: dict[str, list[Episode]]) -> None:
    starts = moved(household_games, shown)
    from_expert = [start for start in starts if start.turns]
    not_shown = [start for start in starts if start.game.id not in shown]
    assert [start.episode_id for start in starts] == [start.episode_id for start in whole_episodes(household_games, 4)]
    assert 24 - len(not_shown) <= len(from_expert) <= 24
    assert not any(start.turns for start in not_shown), "its expert showed nothing"
    assert moved(household_games, shown) == starts
    assert moved(household_games, shown, seed=1) != starts
    assert moved(household_games, shown, share=0) == whole_episodes(household_games, 4)


def test_every_turn_of_an_expert_may_be_the_first(
    household_games: list[PlayableGame], shown: dict[str, list[Episode]]
) -> None:
    game = household_games[1]
    (expert,) = shown[game.id]
    turns = {len(start.turns) for seed in range(40) for start in moved([game], shown, 1, seed)}
    assert turns == set(range(1, len(expert.turns))), "but not the game's start, and not its end"


def test_no_episode_begins_where_its_steps_are_over(
    household_games: list[PlayableGame], shown: dict[str, list[Episode]]
) -> None:
    starts = whole_episodes(household_games, 4)
    soon = from_expert_states(starts, shown, share=1, max_steps=2, seed=0)
    assert {len(start.turns) for start in soon if start.game.id in shown} == {1}
    assert from_expert_states(starts, shown, share=1, max_steps=1, seed=0) == starts


def test_the_state_is_the_experts_byte_for_byte(
    household_games: list[PlayableGame], shown: dict[str, list[Episode]]
) -> None:
    agent, starts = Listening(random_play), moved(household_games, shown)
    by_id = {start.episode_id: start for start in starts}
    episodes = played(agent, starts)
    begun = {(first, turns): observation for first, turns, observation in agent.begun}
    for episode in episodes:
        start = by_id[episode.episode_id]
        assert (episode.start, episode.parent) == (len(start.turns), None)
        environment = start.game.environment()
        seen = environment.reset()
        first = seen.text
        for turn in start.turns:
            seen = environment.step(turn.action)
        assert begun[first, start.turns] == seen
        if start.turns:
            (expert,) = shown[episode.game]
            assert episode.turns[: episode.start] == expert.turns[: episode.start]
        for turn in episode.own_turns:
            assert environment.step(turn.action).text == turn.observation, "it goes on from there"
        assert episode.own_turns


def test_what_the_expert_repeats_is_not_held_against_the_policy(household_games: list[PlayableGame]) -> None:
    game = household_games[0]
    (looks,) = play(
        Scripted(lambda *_: "REASON: So.\nACTION: look"),
        whole_episodes([game], 1),
        max_steps=5,
        total=1,
        monitor=SilentMonitor(),
    )
    agent = Scripted(scripted.knowing([game]))
    (episode,) = played(agent, [Start("0", game, looks.turns[:4])], patience=3)
    assert episode.own_turns


def test_only_own_turns_have_targets_and_all_turns_are_kept(
    household_games: list[PlayableGame], shown: dict[str, list[Episode]], tmp_path: Path
) -> None:
    episodes = played(Scripted(random_play), moved(household_games, shown))
    assert any(episode.start for episode in episodes)
    targets = mc_value_targets(episodes, gamma=0.9, held_out_games=0, seed=0)
    own = [(episode.episode_id, t) for episode in episodes for t in range(episode.start, len(episode.turns))]
    assert list(zip(targets["episode_id"], targets["turn"], strict=True)) == own
    write_episodes(episodes, tmp_path)
    assert read_episodes(tmp_path) == episodes
