"""Advantages of a rollout set's answers, by hand: two whole episodes of a game, and branches of one."""

import pytest

from agentprm_dagster.algorithm.advantages import EPSILON
from agentprm_dagster.improvement.grouped_answers import answer_advantages, answers_by_state
from episodes_of import episode_of

GAMMA = 0.5
WON, LOST = episode_of("w", "ltp", 1.0), episode_of("l", "xxx", 0.0)
BRANCHES = [
    episode_of("b0", "lqtp", 1.0, start=1, parent="w"),
    episode_of("b1", "lzzz", 0.0, start=1, parent="w"),
]


def test_of_steps_by_hand() -> None:
    advantages = answer_advantages([WON, *BRANCHES], gamma=GAMMA, omega=1.0, normalise="none")
    # In the state behind l: t is worth 0.5, q 0.25, z 0; one episode has no other to be compared with.
    assert advantages == pytest.approx({("w", 0): 0.0, ("w", 1): 0.25, ("w", 2): 0.0, ("b0", 1): 0.0, ("b1", 1): -0.25})


def test_of_episodes_by_hand() -> None:
    advantages = answer_advantages([WON, LOST, *BRANCHES], gamma=GAMMA, omega=0.0, normalise="std")
    of_one = 0.5 / (0.5**0.5 + EPSILON)  # rewards 1 and 0: mean 0.5, squares 0.25 + 0.25 over n - 1
    expected = {("w", t): of_one for t in range(3)} | {("l", t): -of_one for t in range(3)}
    assert advantages == pytest.approx({**expected, ("b0", 1): 0.0, ("b1", 1): 0.0})


def test_both_are_added_up() -> None:
    advantages = answer_advantages([WON, LOST, *BRANCHES], gamma=GAMMA, omega=2.0, normalise="none")
    # At the start w is worth 0.25 and l 0; behind l of w the three of above.
    assert advantages[("w", 0)] == pytest.approx(0.5 + 2 * 0.125)
    assert advantages[("w", 1)] == pytest.approx(0.5 + 2 * 0.25)
    assert advantages[("b1", 1)] == pytest.approx(2 * -0.25)
    assert advantages[("l", 2)] == pytest.approx(-0.5)


def test_answers_are_read_along_the_whole_episode() -> None:
    episodes = [WON, *BRANCHES]
    along = answers_by_state(episodes, answer_advantages(episodes, gamma=GAMMA, omega=1.0, normalise="none"))
    assert along.keys() == {"w"}
    assert {turn: [each.episode.episode_id for each in given] for turn, given in along["w"].items()} == {1: ["w", "b1"]}


def test_where_returns_agree_there_is_nothing_to_learn() -> None:
    episodes = [LOST, episode_of("m", "yyy", 0.0)]
    advantages = answer_advantages(episodes, gamma=GAMMA, omega=1.0, normalise="std")
    assert set(advantages.values()) == {0.0}
    assert answers_by_state(episodes, advantages) == {}
