"""InversePRM's report by hand, and that episodes without outcomes refuse to tell them."""

import math

import numpy as np
import pandas as pd
import pytest

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.unrewarded import OutcomeRead, without_outcomes
from agentprm_dagster.reports.inverse_report import Discrimination, inverse_report

SCORED = pd.DataFrame({"state": ["s", "s"], "action": ["a", "b"], "q": [0.9, 0.1], "logit": [1.0, -1.0]})


def told(rewards: list[float]) -> Discrimination:
    """One transition of the expert, then those of learners."""
    expert = np.array([True] + [False] * (len(rewards) - 1))
    return Discrimination(0.5, np.array(rewards), expert, {True: 10, False: 30}, 1000.0)


def test_each_side_weighs_half() -> None:
    report = inverse_report(told([2.0, -1.0, -3.0, 0.5]), SCORED, max_loss=1.0)
    expected = (math.log1p(math.exp(-2)) + sum(math.log1p(math.exp(x)) for x in (-1, -3, 0.5)) / 3) / 2
    assert report.metrics["held_out_loss"] == pytest.approx(expected)
    assert report.metrics["held_out_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert report.metrics["margin"] == pytest.approx(2.0 - (-3.5 / 3))
    assert report.metrics["ordering_accuracy"] == 1.0
    assert report.gates[0].passed


def test_what_tells_nothing_does_not_pass() -> None:
    (gate,) = inverse_report(told([0.0, 0.0]), SCORED, max_loss=1.0).gates
    assert not gate.passed
    assert "expected less than 1 times 0.6931" in gate.message


def test_outcomes_cannot_be_read(rollouts: list[Episode]) -> None:
    (episode,) = without_outcomes(rollouts[:1])
    assert (episode.episode_id, episode.turns) == (rollouts[0].episode_id, rollouts[0].turns)
    with pytest.raises(OutcomeRead, match=r"the outcome of .* was asked for"):
        _ = episode.won
