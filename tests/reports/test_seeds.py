"""What several seeds tell that one does not."""

import pytest

from agentprm_dagster.algorithm.statistics import spread
from agentprm_dagster.reports.seeds import SEED_COLUMNS, over_seeds, seed_cells, seeds_in_words, seeds_page


def rows(pi_0: float, pi_1: float | None) -> list[dict[str, object]]:
    named = {"split": "valid_seen", "ranked_by": None, "world": None, "horizon": 0, "best_of": 1}
    found: list[dict[str, object]] = [{**named, "policy": "pi_0", "iteration": 0, "success_rate": pi_0}]
    return found if pi_1 is None else [*found, {**named, "policy": "pi_1", "iteration": 1, "success_rate": pi_1}]


def test_the_interval_by_hand() -> None:
    found = spread([0.5, 0.6, 0.7])
    # Student's t with two degrees of freedom: 4.3027 at 97.5%; the standard deviation is 0.1.
    assert (found.n, found.mean, found.least, found.most) == pytest.approx((3, 0.6, 0.5, 0.7))
    assert (found.low, found.high) == pytest.approx((0.6 - 0.24841, 0.6 + 0.24841), abs=1e-5)


def test_one_number_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least two seeds, got 1"):
        spread([0.5])


def test_a_gain_is_told_seed_by_seed() -> None:
    pi_0, pi_1 = over_seeds({0: rows(0.5, 0.6), 7: rows(0.3, 0.5), 2: rows(0.4, 0.55)})
    assert (pi_0.policy, pi_0.seeds, pi_0.gain) == ("pi_0", (0, 2, 7), None)
    assert pi_1.gain is not None
    assert (pi_1.gain.mean, pi_1.gain.least, pi_1.gain.most) == pytest.approx((0.15, 0.1, 0.2))
    cells = dict(zip(SEED_COLUMNS, seed_cells(pi_1), strict=True))
    assert (cells["seeds"], cells["success"], cells["more than pi_0"]) == ("0, 2, 7", "55.0%", "+15.0")
    assert cells["lowest to highest"] == "50.0% to 60.0%"


def test_what_one_seed_alone_has_is_no_line() -> None:
    assert [line.policy for line in over_seeds({0: rows(0.5, 0.6), 1: rows(0.3, None)})] == ["pi_0"]
    assert over_seeds({0: rows(0.5, 0.6)}) == []


def test_an_interval_of_rates_stays_among_rates() -> None:
    (pi_0,) = over_seeds({0: rows(0.9, None), 1: rows(1.0, None)})
    assert seed_cells(pi_0)[4] == "31.5% to 100.0%"


def test_the_page_says_what_an_interval_is_of() -> None:
    alone = seeds_page([], 3, ["a processor"])
    assert alone == seeds_in_words([], 3, ["a processor"])
    assert alone.startswith("Seed 3 alone")
    several = seeds_page(over_seeds({0: rows(0.5, 0.6), 1: rows(0.3, 0.5)}), 0, ["a processor"])
    assert "| valid_seen | pi_1 | 0, 1 | 55.0% |" in several
    assert "Trained on a processor." in several
