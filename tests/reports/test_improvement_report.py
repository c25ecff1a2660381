"""How a policy update is judged."""

import math

import pytest

from agentprm_dagster.reports.improvement_report import Learnt, improvement_report, together
from agentprm_dagster.reports.overoptimization import Measurement

STEP = {"value": 0.5, "kl": 1.0, "pairs": 4.0, "loss": 0.6}


def passed(history: list[dict[str, float]], *, planned: int | None = None, max_kl: float = 5.0) -> list[str]:
    """The names of the gates that did not pass."""
    report = improvement_report(history, planned=planned or len(history), max_kl=max_kl)
    return [gate.name for gate in report.gates if not gate.passed]


def test_the_ends_are_averaged() -> None:
    history = [{**STEP, "value": i / 100} for i in range(100)]
    metrics = improvement_report(history, planned=100, max_kl=5).metrics
    assert (metrics["value_first"], metrics["value_last"]) == pytest.approx((0.045, 0.945))
    assert (metrics["steps"], metrics["pairs"]) == (100.0, 400.0)


def test_what_only_pairs_tell_is_averaged_over_the_pairs() -> None:
    none = {"value": 0.1, "pairs": 0.0, "tokens": 5.0}
    three = {"value": 0.2, "pairs": 3.0, "tokens": 5.0, "gap": 0.4, "loss": 0.6}
    one = {"value": 0.6, "pairs": 1.0, "tokens": 5.0, "gap": 0.8, "loss": 0.2}
    assert together([none, three, one]) == pytest.approx(
        {"value": 0.3, "pairs": 4.0, "tokens": 15.0, "gap": 0.5, "loss": 0.5}
    )
    assert together([none, none]) == {"value": 0.1, "pairs": 0.0, "tokens": 10.0}, "no pair says nothing of pairs"
    history = [none] * 10 + [three] * 10
    report = improvement_report(history, planned=20, max_kl=1, kept=kept_at(20, kl=0.0))
    assert "gap_first" not in report.metrics
    assert report.metrics["gap_last"] == pytest.approx(0.4)
    assert "| gap |  | 0.4 |" in report.preview


def test_the_page_begins_with_what_came_of_it() -> None:
    history = [{**STEP, "value": i / 100} for i in range(100)]
    page = improvement_report(history, planned=100, max_kl=5).preview
    assert page.startswith("- The PRM's value of the policy's answers went from 0.045 to **0.945**.\n")
    assert "- The policy is now **1.000 nats** an answer" in page
    back = improvement_report(history, planned=100, max_kl=5, kept=kept_at(0, kl=0.0)).preview
    assert "went from 0.045 and back, as no step was kept.\n- The policy is now **0.000 nats**" in back
    assert "](training.png)" in page


def test_gates() -> None:
    assert passed([STEP] * 30) == []
    assert passed([STEP] * 30, planned=31) == ["policy_finite"]
    assert passed([STEP, {**STEP, "loss": math.nan}, STEP]) == ["policy_finite"]
    assert passed([STEP] * 20 + [{**STEP, "kl": 6.0}] * 10) == ["kl_budget"]
    assert passed([{**STEP, "kl": 6.0}] * 10 + [STEP] * 10) == [], "only where the policy has ended counts"
    assert passed([{"value": 0.5, "kl": 1.0, "pairs": 0.0}] * 3) == ["pairs_to_learn_from"]


def kept_at(step: int, kl: float) -> Measurement:
    """What a panel measured there."""
    return Measurement(step, 0.5, 10, 0.5, kl, 1.0, 0.0, None)


def test_after_a_tripwire_the_policy_that_was_kept_is_judged() -> None:
    history = (
        [{**STEP, "kl": 0.1 * (i + 1)} for i in range(20)] + [{**STEP, "kl": 9.0}] * 10 + [{**STEP, "kl": math.nan}]
    )
    report = improvement_report(history, planned=31, max_kl=5, kept=kept_at(20, kl=2.5))
    assert [gate.passed for gate in report.gates] == [True] * 3
    assert [gate.value for gate in report.gates if gate.name == "kl_budget"] == [2.5]
    assert (report.metrics["kl_first"], report.metrics["kl_last"]) == pytest.approx((0.55, 1.55))
    assert (report.metrics["steps"], report.metrics["pairs"]) == (31.0, 124.0), "what was done is counted in full"
    too_far = improvement_report(history, planned=31, max_kl=2, kept=kept_at(20, kl=2.5))
    assert [gate.name for gate in too_far.gates if not gate.passed] == ["kl_budget"]


def test_where_the_start_was_kept_there_are_no_last_steps() -> None:
    report = improvement_report([STEP] * 5, planned=5, max_kl=0.5, kept=kept_at(0, kl=0.0))
    assert [gate.passed for gate in report.gates] == [True] * 3
    assert report.metrics["kl_first"] == 1.0
    assert not [name for name in report.metrics if name.endswith("_last")]
    assert "| kl | 1 |  |" in report.preview


def test_a_kind_that_asks_no_prm_says_what_it_learnt_from_and_how_far_it_went() -> None:
    history = [{"loss": 0.7, "pairs": 3.0, "kl": 9.0}, {"loss": 0.6, "pairs": 3.0, "kl": 9.0}]

    def gates(kl: float, count: float) -> dict[str, bool]:
        learnt = Learnt(count, "pairs of episodes", "no game was both won and lost")
        report = improvement_report(history, planned=2, max_kl=5, kl=kl, learnt=learnt)
        assert "PRM" not in report.preview
        return {gate.name: gate.passed for gate in report.gates}

    assert gates(1.0, 6) == {"policy_finite": True, "kl_budget": True, "pairs_to_learn_from": True}
    assert not gates(6.0, 6)["kl_budget"], "what was measured counts, not the last step's"
    assert not gates(math.nan, 6)["policy_finite"]
    assert not gates(1.0, 0)["pairs_to_learn_from"]
