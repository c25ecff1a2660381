"""How a process reward model is judged, by hand."""

from math import exp, log, log1p, nan
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agentprm_dagster.algorithm.calibration import calibration_error, soft_bce
from agentprm_dagster.algorithm.statistics import wilson_interval
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.reports.prm_report import action_ordering, pair_loss, prm_report, states_with_pair

# State s: three actions tried, one of them twice; state t: two that are worth the same; state u: one.
SCORED = pd.DataFrame(
    [
        ("s", "a", 1.0, 2.0),
        ("s", "a", 1.0, 2.0),
        ("s", "b", 0.5, 3.0),
        ("s", "c", 0.0, -1.0),
        ("t", "a", 0.5, 0.0),
        ("t", "b", 0.5, 9.0),
        ("u", "a", 1.0, 1.0),
    ],
    columns=["state", "action", "q", "logit"],
).assign(reply_logit=nan)


def test_soft_bce() -> None:
    target, probability = pd.Series([1.0, 0.0, 0.25]), pd.Series([0.8, 0.4, 0.5])
    assert soft_bce(target, probability) == pytest.approx((-log(0.8) - log(0.6) - log(0.5)) / 3)


def test_a_certain_error_is_finite() -> None:
    assert np.isfinite(soft_bce(pd.Series([1.0]), pd.Series([0.0])))


def test_ordering() -> None:
    # Of a > b, a > c, b > c the first is the wrong way round; gaps 2 - 3, 2 + 1, 3 + 1. Their targets are 0.5, 1 and
    # 0.5 apart: 1.5 of 2 are right, for which 2^2 / (0.5^2 + 1^2 + 0.5^2) = 8 / 3 equal pairs would stand.
    assert action_ordering(SCORED) == {
        "ordered_pairs": 3.0,
        "ordering_accuracy": pytest.approx(2 / 3),
        "ordering_ci_low": pytest.approx(0.2077, abs=1e-4),
        "ordering_ci_high": pytest.approx(0.9385, abs=1e-4),
        "weighted_ordering_accuracy": pytest.approx(0.75),
        "weighted_ordering_ci_low": pytest.approx(wilson_interval(2, 8 / 3)[0]),
        "weighted_ordering_ci_high": pytest.approx(wilson_interval(2, 8 / 3)[1]),
        "ordering_gap": pytest.approx(2.0),
    }


def test_the_loss_of_pairs() -> None:
    # The same pairs and gaps as above; only a > c is more than half a return apart.
    returns = SCORED["q"]
    assert pair_loss(SCORED, returns, 0.0) == pytest.approx((log1p(exp(1)) + log1p(exp(-3)) + log1p(exp(-4))) / 3)
    assert pair_loss(SCORED, returns, 0.6) == pytest.approx(log1p(exp(-3)))
    assert pair_loss(SCORED, returns, 1.1) == log(2), "no such pair"
    found = [states_with_pair(SCORED, returns, margin) for margin in (0.0, 1.0, 1.1)]
    assert found == [1, 1, 0], "in t both are worth the same"


def test_order_is_learnt_from_what_was_learnt_and_judged_by_returns() -> None:
    """Shaped targets part the actions of t, which returns do not, and draw those of s together."""
    shaped = SCORED.assign(target=[0.5, 0.5, 0.5, 0.5, 0.2, 0.8, 0.9])
    judged = prm_report(shaped, constant=0.6, train_loss=0.1, max_loss=1.0, min_ordering=0.0, relative_margin=0.5)
    assert judged.metrics["held_out_loss"] == pytest.approx(log1p(exp(-9))), "in t b is better, by 9 logits"
    assert judged.metrics["held_out_states_with_pair"] == 1
    assert judged.metrics["ordered_pairs"] == 3, "those of s"
    assert action_ordering(shaped) == action_ordering(SCORED)


def test_where_only_order_was_learnt_the_loss_is_that_of_pairs() -> None:
    judged = prm_report(SCORED, constant=0.6, train_loss=0.1, max_loss=1.0, min_ordering=0.0, relative_margin=0.6)
    assert judged.metrics["held_out_loss"] == pytest.approx(log1p(exp(-3)))
    assert judged.metrics["held_out_constant_loss"] == log(2)
    shifted = prm_report(
        SCORED.assign(logit=SCORED["logit"] + 50),
        constant=0.6,
        train_loss=0.1,
        max_loss=1.0,
        min_ordering=0.0,
        relative_margin=0.6,
    )
    assert shifted.metrics["held_out_loss"] == pytest.approx(judged.metrics["held_out_loss"])
    assert "the loss of a coin" in shifted.gates[0].message


def test_a_tie_of_the_model_is_half_right() -> None:
    assert action_ordering(SCORED.assign(logit=0.0))["ordering_accuracy"] == 0.5


def test_nothing_to_order_is_chance() -> None:
    assert action_ordering(SCORED[SCORED["state"] != "s"]) == {
        "ordered_pairs": 0.0,
        "ordering_accuracy": 0.5,
        "ordering_ci_low": 0.0,
        "ordering_ci_high": 1.0,
        "weighted_ordering_accuracy": 0.5,
        "weighted_ordering_ci_low": 0.0,
        "weighted_ordering_ci_high": 1.0,
        "ordering_gap": 0.0,
    }


def test_calibration() -> None:
    # Two bins: 0.15 said where 0.5 came, twice; 1.0 said where 0.8 came, once.
    predicted, observed = pd.Series([0.1, 0.2, 1.0]), pd.Series([0.0, 1.0, 0.8])
    assert calibration_error(predicted, observed, bins=2) == pytest.approx((2 * 0.35 + 0.2) / 3)
    assert calibration_error(observed, observed) == 0.0


def report(scored: pd.DataFrame, **limits: Any) -> StageReport:
    limits = {"max_loss": 1.0, "min_ordering": 0.5, **limits}
    return prm_report(scored, constant=float(scored["q"].mean()), train_loss=0.1, **limits)


def passed(scored: pd.DataFrame, **limits: Any) -> dict[str, bool]:
    return {gate.name: gate.passed for gate in report(scored, **limits).gates}


def several(scored: pd.DataFrame, times: int) -> pd.DataFrame:
    """The same decisions in several copies of each state."""
    copies = [scored.assign(state=scored["state"] + str(i)) for i in range(times)]
    return pd.concat(copies, ignore_index=True)


def test_gates() -> None:
    good = several(SCORED.assign(logit=(SCORED["q"] - 0.5) * 4), 2)
    assert passed(good) == {"better_than_constant": True, "orders_actions": True}
    assert passed(good.assign(logit=-good["logit"])) == {"better_than_constant": False, "orders_actions": False}
    assert not passed(good, max_loss=0.5)["better_than_constant"]


def test_an_ordering_that_chance_explains_does_not_pass() -> None:
    # By weight three quarters are right. Wilson's lower end is 0.24 of one copy, 0.48 of five and 0.505 of six.
    assert [passed(several(SCORED, times))["orders_actions"] for times in (1, 5, 6)] == [False, False, True]
    assert passed(SCORED, min_ordering=0.2)["orders_actions"]
    assert not passed(several(SCORED, 12), min_ordering=0.6)["orders_actions"]
    wrong = SCORED.assign(logit=-SCORED["q"])
    assert passed(wrong, min_ordering=0)["orders_actions"], "switched off"


def test_where_no_two_actions_differ_there_is_nothing_to_order() -> None:
    assert passed(SCORED[SCORED["state"] != "s"])["orders_actions"]


def test_the_ordering_gate_judges_the_reading_that_ranks() -> None:
    right = several(SCORED.assign(logit=(SCORED["q"] - 0.5) * 4), 2)
    right_behind_answers = right.assign(reply_logit=-right["logit"])
    right_behind_replies = right.assign(logit=-right["logit"], reply_logit=right["logit"])
    assert passed(right_behind_answers, rank_by="answer")["orders_actions"]
    assert not passed(right_behind_answers, rank_by="reply")["orders_actions"]
    assert not passed(right_behind_replies, rank_by="answer")["orders_actions"]
    assert passed(right_behind_replies, rank_by="reply")["orders_actions"]
    assert not passed(right_behind_replies, rank_by="reply")["better_than_constant"], "the loss is Eq. 2's"


def test_the_page_begins_with_what_was_found() -> None:
    first, picture, *_ = report(SCORED.assign(reply_logit=(SCORED["q"] - 0.5) * 4)).preview.split("\n\n")
    orders, weighted, reply, loss = first.splitlines()
    assert orders == "- Orders **66.7% (20.8% to 93.9%)** of 3 held-out pairs as their returns are."
    assert ("75.0% (" in weighted, "after the reply: **100.0% (" in reply) == (True, True)
    assert loss.endswith("of always saying 0.643.")
    assert max(map(len, first.splitlines())) <= 80, "as wide as Dagster's list"
    assert "](prm.png)" in picture
    nothing = report(SCORED[SCORED["state"] != "s"]).preview
    assert nothing.startswith("- No held-out state has two actions with different returns")


def test_both_readings_are_reported() -> None:
    metrics = report(SCORED.assign(reply_logit=(SCORED["q"] - 0.5) * 4)).metrics
    assert (metrics["ordering_accuracy"], metrics["ordering_gap"]) == pytest.approx((2 / 3, 2.0))
    # Gaps of 0.5, 1 and 0.5 in q are four times that in logits.
    assert (metrics["reply_ordering_accuracy"], metrics["reply_ordering_gap"]) == pytest.approx((1.0, 8 / 3))
    assert "reply_ordered_pairs" not in metrics, "they are the same pairs"
    # Logits 2, 2, 0, -2, 0, 0, 2 for targets 1, 1, 0.5, 0, 0.5, 0.5, 1.
    assert metrics["reply_held_out_loss"] == pytest.approx((4 * log(1 + exp(-2)) + 3 * log(2)) / 7)


def test_replies_that_were_not_read_are_not_reported() -> None:
    assert not any(name.startswith("reply_") for name in report(SCORED).metrics)
