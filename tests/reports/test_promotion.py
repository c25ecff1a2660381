"""Tests and verdicts of `promotion`, by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.algorithm.statistics import paired_difference
from agentprm_dagster.reports.promotion import (
    Decision,
    Finding,
    Overruled,
    PromotionError,
    best_of_n_loses,
    decided,
    gain,
    overestimates,
    promotion_report,
    total_kl,
    verdict_of,
)

GAMES = range(100)
WON_MORE = paired_difference({i: i < 60 for i in GAMES}, {i: i < 40 for i in GAMES})
"""20 of 100 games won alone, none lost alone: p = 21/102, q = 1/102, and Bonett and Price's interval 11.4 to 27.8."""
PASSED, NOT = Finding("gain", True, "it is better", 0.1), Finding("gain", False, "it is worse", -0.1)


def verdict(
    *tests: Finding, attempt: int = 0, attempts: int = 1, hours: float = 1, most: float | None = None
) -> Decision:
    return decided(tests, attempt=attempt, attempts=attempts, hours=hours, max_hours=most, overruled=None)


@pytest.mark.parametrize(("least", "passed"), [(None, True), (-0.05, True), (0.11, True), (0.12, False)])
def test_the_lower_end_of_the_interval_decides(least: float | None, passed: bool) -> None:
    found = gain(WON_MORE, policy="pi_1", before="pi_0", split="valid_seen", at_least=least)
    assert (found.passed, round(found.value, 3)) == (passed, 0.114)
    assert "pi_1 wins +20.0 points more of the same 100 games of valid_seen than pi_0" in found.words


def test_kl_is_added_up() -> None:
    assert total_kl([0.25, 0.5], at_most=0.75) == replace(
        total_kl([0.25, 0.5], at_most=0.7),
        passed=True,
        words=("2 updates went 0.750 nats an answer from the policy before each; at most 0.75 are allowed"),
    )
    assert total_kl([0.25, 0.5], at_most=None).passed


def test_best_of_n_loses_where_the_whole_interval_does() -> None:
    fewer = paired_difference({i: i < 40 for i in GAMES}, {i: i < 60 for i in GAMES})
    assert not best_of_n_loses(fewer, n=4, decides=True).passed
    hardly = paired_difference({i: i < 39 for i in GAMES}, {i: i < 40 for i in GAMES})
    assert best_of_n_loses(hardly, n=4, decides=True).passed


def test_values_above_the_returns_overestimate_where_the_interval_says_so() -> None:
    """Gaps of 0.1 and 0.3 by turns: mean 0.2, deviation 0.1155 of 4, t(3) = 3.182, so 0.016 to 0.384."""
    found = overestimates([0.6, 0.8, 0.6, 0.8], [0.5] * 4, decides=True)
    assert not found.passed
    assert "+20.0 points beside their returns in 4 games (95% interval +1.6 to +38.4)" in found.words
    assert overestimates([0.6, 0.8], [0.5] * 2, decides=True).passed, "two games tell too little"
    assert overestimates([0.4, 0.2, 0.4, 0.2], [0.5] * 4, decides=True).passed


@pytest.mark.parametrize(
    ("test", "attempt", "hours", "expected"),
    [
        (PASSED, 0, 1.0, ("promote", True)),
        (PASSED, 0, 2.0, ("promote", False)),
        (NOT, 0, 1.0, ("repeat", True)),
        (NOT, 1, 1.0, ("stop", True)),
        (NOT, 0, 2.0, ("stop", False)),
        (replace(NOT, decides=False), 0, 1.0, ("promote", True)),
    ],
)
def test_verdicts(test: Finding, attempt: int, hours: float, expected: tuple[str, bool]) -> None:
    found = verdict(test, attempt=attempt, attempts=2, hours=hours, most=2.0)
    assert (found.verdict, found.goes_on) == expected


def test_a_person_overrules_and_is_named() -> None:
    said = Overruled("promote", "ada", "the games that it lost were broken")
    found = decided([NOT], attempt=0, attempts=1, hours=1, max_hours=None, overruled=said)
    assert (found.verdict, found.words) == ("promote", "ada: the games that it lost were broken")
    report = promotion_report(found, iteration=2, hours=1, max_hours=None)
    assert report.gates[0].passed
    assert report.preview.startswith("**pi_2 is promoted.** Overruled by ada: the games that it lost were broken\n")
    assert "| gain | not passed | decides | it is worse |" in report.preview


def test_what_is_not_promoted_does_not_pass_the_gate() -> None:
    (gate,) = promotion_report(verdict(NOT), iteration=2, hours=1, max_hours=None).gates
    assert (gate.name, gate.passed) == ("promoted", False)
    assert gate.message.startswith("stop: it is worse. `agentprm promote EXPERIMENT -i 2 --why")


def test_times_stand_on_no_page_that_they_do_not_decide() -> None:
    pages = {promotion_report(verdict(PASSED), iteration=1, hours=h, max_hours=None).preview for h in (1.0, 2.0)}
    assert len(pages) == 1
    assert "took 1.00 of 3 hours" in promotion_report(verdict(PASSED), iteration=1, hours=1, max_hours=3).preview


@given(
    st.lists(st.builds(Finding, st.text(), st.booleans(), st.text(), st.floats(-1, 1), st.booleans()), max_size=3),
    st.none() | st.builds(Overruled, st.sampled_from(["promote", "repeat", "stop"]), st.text(), st.text()),
)
def test_a_decision_is_read_as_it_was_written(tests: list[Finding], overruled: Overruled | None) -> None:
    made = decided(tests, attempt=1, attempts=2, hours=1, max_hours=None, overruled=overruled)
    assert Decision.from_json(made.to_json()) == made


def test_another_verdict_is_refused() -> None:
    assert verdict_of("stop") == "stop"
    with pytest.raises(PromotionError, match="expected a verdict, promote, repeat, stop; got 'accept'"):
        verdict_of("accept")
