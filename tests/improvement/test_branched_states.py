"""Which states policy improvement draws answers in."""

from dataclasses import replace

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.improvement.branched_states import branched_states


def test_states_are_those_that_were_branched_at(rollouts: list[Episode]) -> None:
    branched = [(episode.parent, episode.start) for episode in rollouts if episode.parent]
    found = branched_states(rollouts)
    assert sorted((episode.episode_id, turn) for episode, turns in found for turn in turns) == sorted(set(branched))
    assert all(turns == sorted(turns) for _, turns in found)


def test_without_branches_all_states_are_taken(demonstrations: list[Episode]) -> None:
    empty = replace(demonstrations[0], turns=())
    found = branched_states([demonstrations[0], empty])
    assert found == [(demonstrations[0], list(range(len(demonstrations[0].turns))))]
