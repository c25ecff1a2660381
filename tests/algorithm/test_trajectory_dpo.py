"""DPO on whole episodes, by hand: two tiny episodes with a log-probability for each of their answers."""

from math import exp, log

import pytest
import torch

from agentprm_dagster.algorithm.terms import items_of, loss_of
from agentprm_dagster.algorithm.trajectory_dpo import trajectory_items, trajectory_terms

BETA = 0.1


def test_by_hand() -> None:
    # An episode is won in two answers, log pi -1 and -2, log ref -1.5 and -2.5; another is lost in three.
    won, lost = (-1 + 1.5) + (-2 + 2.5), (-1 + 1.0) + (-3 + 1.0) + (-0.5 + 0.5)
    terms, numbers = trajectory_terms(torch.tensor([won]), torch.tensor([lost]), BETA)
    assert float(loss_of(terms)) == pytest.approx(log(1 + exp(-BETA * (1.0 + 2.0))))
    assert numbers == {"pairs": 1.0, "pair_accuracy": 1.0, "margin": pytest.approx(3.0)}
    assert items_of(terms) == trajectory_items(1)


def test_the_gradient_raises_the_won_and_lowers_the_lost() -> None:
    won, lost = (torch.tensor([0.5, -1.0], requires_grad=True) for _ in range(2))
    loss_of(trajectory_terms(won, lost, BETA)[0]).backward()
    assert won.grad is not None
    assert lost.grad is not None
    # Each pair's share of the mean, and half of beta where the two are alike.
    torch.testing.assert_close(won.grad, torch.full((2,), -BETA / 2 / 2))
    torch.testing.assert_close(lost.grad, -won.grad)
