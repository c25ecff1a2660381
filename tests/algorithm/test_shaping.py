"""Shaped targets by hand, and that they are what they say whatever comes in."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.algorithm.shaping import advantage, shaped_targets
from agentprm_dagster.algorithm.targets import learnt_targets
from agentprm_dagster.reports.reference_value_report import reference_value_report
from agentprm_dagster.reports.targets_report import targets_report

TARGETS = pd.DataFrame(
    {
        "state": ["s", "s", "s", "r"],
        "action": ["a", "a", "b", "a"],
        "q": [0.6, 0.6, 0.2, 1.0],
        "visits": [2, 2, 1, 1],
        "held_out": [False] * 4,
    }
)


def test_an_advantage_is_what_an_action_brings_nearer() -> None:
    before, after = np.array([0.5, 0.5, 0.8, 0.8]), np.array([0.7, 0.4, 0.1, 0.9])
    gained = advantage(before, after, np.array([np.nan, np.nan, 1.0, 0.25]), gamma=0.9)
    assert gained == pytest.approx([0.9 * 0.7 - 0.5, 0.9 * 0.4 - 0.5, 1 - 0.8, 0.25 - 0.8])


def test_targets_are_blended_and_brought_to_the_unit_interval() -> None:
    shaped = shaped_targets(TARGETS, np.array([0.3, 0.1, -0.4, 1.0]), alpha=0.5)
    assert list(shaped["advantage"]) == pytest.approx([0.2, 0.2, -0.4, 1.0])
    blends = [0.5 * 0.6 + 0.5 * 0.2, 0.5 * 0.6 + 0.5 * 0.2, 0.5 * 0.2 - 0.5 * 0.4, 1.0]
    assert list(shaped["target"]) == pytest.approx([(blend + 0.5) / 1.5 for blend in blends])
    assert list(shaped["q"]) == list(TARGETS["q"])
    assert list(learnt_targets(shaped)) == list(shaped["target"])
    report = targets_report(shaped)
    assert report.metrics["mean_learnt_target"] == pytest.approx(shaped["target"].mean())
    assert all(gate.passed for gate in report.gates)


def test_a_repeated_decision_takes_what_was_read_of_its_like() -> None:
    shaped = shaped_targets(TARGETS, np.array([0.3, np.nan, -0.4, 1.0]), alpha=0.5)
    assert list(shaped["advantage"]) == pytest.approx([0.3, 0.3, -0.4, 1.0])
    with pytest.raises(ValueError, match="2 decisions were not read"):
        shaped_targets(TARGETS, np.array([np.nan, np.nan, -0.4, 1.0]), alpha=0.5)


unit = st.floats(0, 1)


@given(st.lists(st.tuples(unit, st.floats(-1, 1)), min_size=1, max_size=8), st.floats(0.01, 1))
def test_shaped_targets_keep_the_order_of_the_blend(rows: list[tuple[float, float]], alpha: float) -> None:
    q, gained = map(list, zip(*rows, strict=True))
    actions = list(map(str, range(len(rows))))
    shaped = shaped_targets(pd.DataFrame({"state": "s", "action": actions, "q": q}), np.array(gained), alpha=alpha)[
        "target"
    ]
    assert shaped.between(0, 1).all()
    blend = (1 - alpha) * np.array(q) + alpha * np.array(gained)
    order = np.argsort(blend, kind="stable")
    assert np.all(np.diff(shaped.to_numpy()[order]) >= -1e-12)


def test_a_value_model_has_to_beat_the_mean() -> None:
    returns = np.array([0.9, 0.9, 0.1, 0.1])
    good = reference_value_report(np.array([0.8, 0.9, 0.2, 0.1]), returns, constant=0.5, train_loss=0.4, max_loss=1.0)
    assert good.gates[0].passed
    assert good.metrics["held_out_constant_loss"] == pytest.approx(np.log(2))
    (gate,) = reference_value_report(np.full(4, 0.5), returns, constant=0.5, train_loss=0.4, max_loss=1.0).gates
    assert not gate.passed
    assert "show more demonstrations" in gate.message
