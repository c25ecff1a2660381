"""Advantages within groups, by hand and as TRL computes them."""

from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.algorithm.advantages import EPSILON, group_advantages


def test_by_hand() -> None:
    advantages = group_advantages([1.0, 0.0, 0.0, 0.5, 0.7], ["a", "a", "a", "b", "b"])
    # Of a: mean 1/3, squares (4/9 + 1/9 + 1/9) / 2 = 1/3. Of b: mean 0.6, squares (0.01 + 0.01) / 1.
    of_a, of_b = sqrt(1 / 3) + EPSILON, sqrt(0.02) + EPSILON
    assert advantages == pytest.approx([2 / 3 / of_a, -1 / 3 / of_a, -1 / 3 / of_a, -0.1 / of_b, 0.1 / of_b])


def test_without_the_division_they_are_distances_from_the_mean() -> None:
    assert group_advantages([1.0, 0.0, 0.5], [0, 0, 0], "none") == pytest.approx([0.5, -0.5, 0.0])


def test_a_group_that_tells_nothing_has_none() -> None:
    assert group_advantages([0.9, 0.3, 0.3], ["alone", "same", "same"]) == [0.0, 0.0, 0.0]
    assert group_advantages([], []) == []


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 0.81, 0.9, 1.0]), min_size=4, max_size=4), min_size=1, max_size=5))
def test_they_are_trls(returns: list[list[float]]) -> None:
    rewards = torch.tensor(returns, dtype=torch.float64)
    theirs = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)  # GRPOTrainer's lines
    groups = [i for i in range(len(returns)) for _ in range(4)]
    assert group_advantages(rewards.flatten().tolist(), groups) == pytest.approx(theirs.flatten().tolist(), abs=1e-9)
