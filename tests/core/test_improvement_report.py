"""How a policy update is judged."""

import math

import pytest

from agentprm_dagster.core.improvement_report import improvement_report

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


def test_gates() -> None:
    assert passed([STEP] * 30) == []
    assert passed([STEP] * 30, planned=31) == ["policy_finite"]
    assert passed([STEP, {**STEP, "loss": math.nan}, STEP]) == ["policy_finite"]
    assert passed([STEP] * 20 + [{**STEP, "kl": 6.0}] * 10) == ["kl_budget"]
    assert passed([{**STEP, "kl": 6.0}] * 10 + [STEP] * 10) == [], "only where the policy has ended counts"
    assert passed([{**STEP, "pairs": 0.0}] * 3) == ["pairs_to_learn_from"]
