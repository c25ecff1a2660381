"""Pairs of episodes of one game, and from where on they are compared."""

from agentprm_dagster.improvement.episode_pairs import EpisodePair, episode_pairs
from episodes_of import episode_of


def test_a_branch_is_compared_from_where_it_parted() -> None:
    whole, branch = episode_of("w", "ltp", 1.0), episode_of("b", "lxx", 0.0, start=1, parent="w")
    assert episode_pairs([whole, branch], 4, 0) == [EpisodePair(whole, branch, 1, 1)]


def test_whole_episodes_are_compared_from_their_first_difference() -> None:
    won, lost = episode_of("w", "ltp", 1.0), episode_of("l", "xxxx", 0.0)
    assert episode_pairs([lost, won], 4, 0) == [EpisodePair(won, lost, 0, 0)]


def test_what_an_expert_did_is_not_compared() -> None:
    won, lost = episode_of("w", "ltp", 1.0, start=2), episode_of("l", "xxxx", 0.0)
    branch = episode_of("b", "ltxx", 0.0, start=2, parent="w")
    pairs = episode_pairs([won, lost, branch], 4, 0)
    assert {(pair.worse.episode_id, pair.better_from, pair.worse_from) for pair in pairs} == {("l", 2, 0), ("b", 2, 2)}


def test_nothing_is_compared_with_another_game_or_the_same_outcome() -> None:
    won, lost = episode_of("w", "ltp", 1.0), episode_of("l", "xx", 0.0, game="other")
    assert not episode_pairs([won, lost, episode_of("v", "tp", 1.0)], 4, 0)


def test_an_episode_that_goes_on_where_another_was_broken_off_tells_nothing() -> None:
    assert not episode_pairs([episode_of("w", "ltp", 1.0), episode_of("l", "lt", 0.0)], 4, 0)


def test_so_many_of_a_game_by_the_seed_alone() -> None:
    played = [episode_of(f"{i}", "ltp"[: i % 3 + 1] + str(i), float(i % 2)) for i in range(8)]
    assert len(episode_pairs(played, 99, 0)) == 16
    some = episode_pairs(played, 5, 0)
    assert len({(pair.better.episode_id, pair.worse.episode_id) for pair in some}) == 5
    assert some == episode_pairs(played, 5, 0) != episode_pairs(played, 5, 1)
