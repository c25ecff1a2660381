"""The won episodes that rejection fine-tuning imitates."""

from agentprm_dagster.improvement.won_episodes import won_episodes
from episodes_of import episode_of


def names(most: int, *episodes: tuple[str, str, float]) -> list[str]:
    made = [episode_of(name, actions, reward, game=name[0]) for name, actions, reward in episodes]
    return [each.episode_id for each in won_episodes(made, most)]


def test_the_shortest_of_each_game_and_no_lost_one() -> None:
    played = [("a0", "lrtp", 1.0), ("a1", "tp", 1.0), ("a2", "t", 0.5), ("a3", "ltp", 1.0), ("b0", "xyz", 1.0)]
    assert names(2, *played) == ["a1", "a3", "b0"]
    assert names(9, *played) == ["a1", "a3", "a0", "b0"]


def test_no_way_is_learnt_twice() -> None:
    assert names(3, ("a1", "tp", 1.0), ("a0", "tp", 1.0), ("a2", "ltp", 1.0)) == ["a0", "a2"]


def test_branches_count_and_a_whole_one_comes_first() -> None:
    whole, branch = episode_of("w", "ltp", 1.0), episode_of("b", "xtp", 1.0, start=1, parent="w")
    assert won_episodes([branch, whole], 2) == [whole, branch]
    assert won_episodes([branch, whole], 1) == [whole]
    assert not won_episodes([episode_of("c", "tp", 1.0, start=2)], 1), "none of its turns is the policy's"


def test_the_order_of_the_table_is_none_of_its_business() -> None:
    played = [("a0", "lrtp", 1.0), ("a1", "tp", 1.0), ("a2", "qtp", 1.0)]
    assert names(2, *played) == names(2, *reversed(played)) == ["a1", "a2"]
