"""Several answers of a state, each continued many times."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scripted
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Observation, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play
from agentprm_dagster.rollouts.tried_out import OWN, WORDED, TriedId, try_out
from scripted import Scripted


def tried(agent: Scripted, games: Sequence[PlayableGame], points: Sequence[tuple[Episode, int]]) -> list[Episode]:
    return try_out(
        agent,
        points,
        {game.id: game for game in games},
        KIND.explain,
        actions=5,
        continuations=3,
        temperature=1.0,
        max_steps=20,
        patience=None,
        keep_candidates=False,
        seed=0,
        monitor=SilentMonitor(),
    )


@pytest.fixture(scope="module")
def won(household_games: list[PlayableGame]) -> list[Episode]:
    agent = Scripted(scripted.knowing(household_games))
    return play(agent, whole_episodes(household_games[:3], 1), max_steps=20, total=3, monitor=SilentMonitor())


def test_every_answer_is_another_command_and_is_played_as_often(
    household_games: list[PlayableGame], won: list[Episode]
) -> None:
    points = [(episode, turn) for episode in won for turn in (0, 2)]
    episodes = tried(Scripted(scripted.knowing(household_games)), household_games, points)
    assert episodes[: len(won)] == won, "they stand before what branches off them"
    of_state: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for episode in episodes[len(won) :]:
        name = TriedId.read(episode.episode_id)
        assert (name.episode_id, name.turn, name.source) == (episode.parent, episode.start, OWN)
        of_state[name.episode_id, name.turn][episode.own_turns[0].action] += 1
    assert of_state.keys() == {(episode.episode_id, turn) for episode, turn in points}
    assert all(sorted(counts.values()) == [3] * 5 for counts in of_state.values())
    right = [each for each in episodes[len(won) :] if each.own_turns[0].action == won_by(each, won)]
    assert right
    assert all(each.won for each in right), "who knows the way wins where it goes on with it"


def won_by(branch: Episode, won: Sequence[Episode]) -> str:
    (parent,) = (each for each in won if each.episode_id == branch.parent)
    return parent.turns[branch.start].action


class Stubborn(Scripted):
    """Says the same in all answers."""

    def _proposals(self, first: str, turns: list[Turn], observation: Observation) -> list[str]:
        return [self.decide(first, turns, observation)] * 3


def test_what_the_policy_does_not_say_is_worded_by_rule(
    household_games: list[PlayableGame], won: list[Episode]
) -> None:
    episode = won[0]
    played = tried(Stubborn(scripted.knowing(household_games)), household_games, [(episode, 1)])[1:]
    sources = {each.own_turns[0].action: TriedId.read(each.episode_id).source for each in played}
    assert Counter(sources.values()) == {OWN: 1, WORDED: 4}
    for each in played:
        turn = each.own_turns[0]
        if sources[turn.action] == WORDED:
            reason = KIND.explain(episode.first_observation, episode.turns[:1], turn.action)
            assert (turn.admissible, turn.response) == (True, write_answer(reason, turn.action))
            assert parse_answer(turn.response).parsed


@given(st.text("abc/#0123456789.", max_size=20), st.integers(0, 999), st.integers(0, 999), st.integers(0, 9999))
def test_ids_are_read_as_they_were_written(episode: str, turn: int, answer: int, continuation: int) -> None:
    name = TriedId(episode, turn, WORDED, answer, continuation)
    assert TriedId.read(str(name)) == name
