"""Lambda-returns by hand, and what they are at both ends of lambda."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.algorithm.targets import discounted_outcome, learnt_targets, mc_value_targets
from agentprm_dagster.algorithm.td_lambda import lambda_returns, state_values, td_targets, visited_behind
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.reports.targets_report import targets_report

UNIT = st.floats(0, 1)


def test_by_hand() -> None:
    behind, gamma, lam = [0.6, 0.7, float("nan")], 0.9, 0.5
    last = 1.0
    middle = 0.9 * (0.5 * 0.7 + 0.5 * last)
    first = 0.9 * (0.5 * 0.6 + 0.5 * middle)
    assert lambda_returns(behind, 1.0, gamma=gamma, lam=lam) == pytest.approx([first, middle, last])


@given(st.lists(UNIT, min_size=1, max_size=8), UNIT, st.floats(0.1, 1))
def test_lambda_1_is_monte_carlo_and_0_looks_one_turn_ahead(values: list[float], outcome: float, gamma: float) -> None:
    last = len(values) - 1
    returns = [discounted_outcome(outcome, t, last, gamma) for t in range(len(values))]
    assert lambda_returns(values, outcome, gamma=gamma, lam=1) == pytest.approx(returns)
    one_step = [*(gamma * value for value in values[:-1]), outcome]
    assert lambda_returns(values, outcome, gamma=gamma, lam=0) == pytest.approx(one_step)


@given(st.lists(UNIT, min_size=1, max_size=8), UNIT, st.floats(0.1, 1), UNIT)
def test_beyond_v_it_is_the_generalised_advantage(
    values: list[float], outcome: float, gamma: float, lam: float
) -> None:
    ahead = [*values[1:], 0.0]
    rewards = [0.0] * (len(values) - 1) + [outcome]
    deltas = [r + gamma * v - own for r, v, own in zip(rewards, ahead, values, strict=True)]
    advantages = [sum((gamma * lam) ** k * delta for k, delta in enumerate(deltas[t:])) for t in range(len(values))]
    assert lambda_returns(ahead, outcome, gamma=gamma, lam=lam) - np.array(values) == pytest.approx(advantages)


def table(rows: Sequence[tuple[str, int, str, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["episode_id", "turn", "state", "action", "outcome"])


def test_the_value_of_a_state_is_that_of_answers_that_were_not_chosen_to_differ() -> None:
    rows = table([("a", 0, "s", "x", 0.9), ("a", 1, "t", "y", 1.0), ("b", 0, "s", "z", 0.0), ("c", 0, "s", "x", 0.3)])
    assert state_values(rows, {"b": 0}).tolist() == pytest.approx([0.6, 1.0, 0.6, 0.6])
    assert state_values(rows, {}).tolist() == pytest.approx([0.4, 1.0, 0.4, 0.4])
    behind = visited_behind(rows, {"b": 0})
    assert np.isnan(behind).tolist() == [False, True, True, True]
    found = td_targets(rows, behind, gamma=0.9, lam=0.5)
    first = 0.9 * (0.5 * 1.0 + 0.5 * 1.0)
    assert found["target"].tolist() == pytest.approx([(first + 0.3) / 2, 1.0, 0.0, (first + 0.3) / 2])
    with pytest.raises(ValueError, match="behind 1 decisions"):
        td_targets(rows, np.full(4, np.nan), gamma=0.9, lam=0.5)


def test_over_a_rollout_set(rollouts: list[Episode]) -> None:
    noisy = [replace(each, reward=0.0) if each.episode_id.endswith("m1") else each for each in rollouts]
    targets = mc_value_targets(noisy, gamma=0.9, held_out_games=0.3, seed=0)
    branches = {each.episode_id: each.start for each in rollouts if each.parent is not None}
    monte_carlo = td_targets(targets, visited_behind(targets, branches), gamma=0.9, lam=1)
    assert learnt_targets(monte_carlo).to_numpy() == pytest.approx(targets["q"].to_numpy())
    found = td_targets(targets, visited_behind(targets, branches), gamma=0.9, lam=0.5)
    assert not np.allclose(found["target"], targets["q"])
    assert found["target"].between(0, 1).all()
    assert found["behind"].notna().sum() == len(found) - found["episode_id"].nunique()
    assert all(gate.passed for gate in targets_report(found).gates)
    assert (found.groupby(["state", "action"])["target"].nunique() == 1).all()
