"""Who wins more of the same games."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.algorithm.statistics import ComparisonError, paired_difference

OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def test_by_hand() -> None:
    """Of ten games three are won by the one alone, one by the other alone: p = 4/12, q = 2/12."""
    one = dict(enumerate([True] * 5 + [False] * 5))
    other = dict(enumerate([True] * 2 + [False] * 7 + [True]))
    found = paired_difference(one, other)
    assert (found.n, found.won_alone, found.lost_alone) == (10, 3, 1)
    assert found.rate == pytest.approx(0.2)
    half = 1.959964 * sqrt((6 / 12 - (2 / 12) ** 2) / 12)
    assert (found.low, found.high) == pytest.approx((2 / 12 - half, 2 / 12 + half))


@given(OUTCOMES)
def test_the_other_way_round_it_is_the_same_with_the_sign_changed(pairs: list[tuple[bool, bool]]) -> None:
    one, other = ({i: pair[side] for i, pair in enumerate(pairs)} for side in (0, 1))
    forth, back = paired_difference(one, other), paired_difference(other, one)
    assert forth.rate == -back.rate == pytest.approx((sum(one.values()) - sum(other.values())) / len(pairs))
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
    assert -1 <= forth.low < forth.high <= 1


def test_equal_policies_are_not_known_to_be_equal() -> None:
    found = paired_difference(dict.fromkeys(range(20), True), dict.fromkeys(range(20), True))
    assert found.rate == 0
    assert found.low < 0 < found.high


@pytest.mark.parametrize(
    ("one", "other"), [({}, {}), ({"a": True}, {"b": True}), ({"a": True}, {"a": True, "b": False})]
)
def test_other_games_are_refused(one: dict[str, bool], other: dict[str, bool]) -> None:
    with pytest.raises(ComparisonError, match="the same games"):
        paired_difference(one, other)
