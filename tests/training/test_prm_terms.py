"""The PRM's loss by hand, and beside TRL's."""

from collections import defaultdict
from math import exp, log, log1p
from types import SimpleNamespace

import pytest
import torch

from agentprm_dagster.algorithm.prm_loss import BOOTSTRAP, Reading, value_terms
from agentprm_dagster.algorithm.relative_loss import relative_term
from agentprm_dagster.algorithm.terms import loss_of
from agentprm_dagster.config import Prm
from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.training.prm_examples import Example, terms_of


def example(targets: list[float], pairs: list[tuple[int, int]]) -> Example:
    """An example of which only the targets and pairs matter."""
    places = list(range(len(targets)))
    return Example(TokenTree(), ends=places, replies=[], targets=targets, rows=places, pairs=pairs)


def softplus(x: float) -> float:
    return log1p(exp(x))


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def value(
    logits: list[float] | torch.Tensor, targets: list[float], pairs: list[tuple[int, int]], weight: float
) -> torch.Tensor:
    """The loss of `value_terms` of plain numbers."""
    first, second = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    return loss_of(value_terms(torch.as_tensor(logits), torch.tensor(targets), first, second, weight))


def test_the_loss_is_soft_cross_entropy() -> None:
    logits, targets = [0.5, -1.0, 2.0], [1.0, 0.25, 0.0]
    # -q log sigma(x) - (1 - q) log(1 - sigma(x)) = softplus(x) - q x
    expected = (softplus(0.5) - 0.5 + softplus(-1.0) + 0.25 + softplus(2.0)) / 3
    assert value(logits, targets, [(0, 1)], 0.0).item() == pytest.approx(expected)
    stock = torch.nn.BCEWithLogitsLoss()(torch.tensor(logits), torch.tensor(targets))
    assert value(logits, targets, [], 1.0).item() == pytest.approx(stock.item()), "without pairs there is nothing else"


LOGITS, TARGETS = [0.5, -1.0, 2.0, 1.0, 1.5], [1.0, 0.25, 0.0, 0.9, 0.4]


def test_the_pairwise_term_by_hand() -> None:
    alone = value(LOGITS, TARGETS, [], 1.0).item()
    terms = [0.75 * softplus(-1.0 - 0.5), 0.9 * softplus(2.0 - 1.0), 0.5 * softplus(1.5 - 1.0)]
    pairs = [(0, 1), (2, 3), (3, 4)]
    assert value(LOGITS, TARGETS, pairs, 2.0).item() == pytest.approx(alone + 2.0 * sum(terms) / 3)
    turned = [(second, first) for first, second in pairs]
    assert value(LOGITS, TARGETS, turned, 2.0).item() == pytest.approx(alone + 2.0 * sum(terms) / 3), "either way round"


def test_ties_weigh_nothing() -> None:
    tied = [*TARGETS, 0.4]
    with_tie = value([*LOGITS, 7.0], tied, [(0, 1), (4, 5)], 2.0) - value([*LOGITS, 7.0], tied, [], 2.0)
    without = value(LOGITS, TARGETS, [(0, 1)], 2.0) - value(LOGITS, TARGETS, [], 2.0)
    assert with_tie.item() == pytest.approx(without.item(), rel=1e-5), "a tie is no pair to average over either"


def test_where_all_are_ties_only_cross_entropy_is_left() -> None:
    grads = []
    for pairs in ([(0, 1)], []):
        logits = torch.tensor([3.0, -3.0], requires_grad=True)
        value(logits, [0.5, 0.5], pairs, 2.0).backward()
        grads.append(logits.grad)
    torch.testing.assert_close(grads[0], grads[1])


def test_certainty_about_the_right_thing_costs_little() -> None:
    right, wrong = value([9.0, -9.0], [1.0, 0.0], [(0, 1)], 1.0), value([-9.0, 9.0], [1.0, 0.0], [(0, 1)], 1.0)
    assert right < 2 * log(1.001) < wrong


SOME = [example([1.0, 0.25], [(0, 1)]), example([0.0, 0.9, 0.4], [(0, 1), (1, 2)])]
"""Their decisions and pairs one after the other: TARGETS, and PAIRS."""
PAIRS = [(0, 1), (2, 3), (3, 4)]
REPLIES = [2.0, 1.0, -1.0, -2.0, 0.5]


def test_without_replies_the_loss_is_that_of_the_answers() -> None:
    settings = Prm(pairwise_weight=2.0)
    loss = loss_of(terms_of(Reading(torch.tensor(LOGITS), None), SOME, settings, progress=1.0))
    assert loss.item() == pytest.approx(value(LOGITS, TARGETS, PAIRS, 2.0).item())


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.5, BOOTSTRAP / 2), (1.0, BOOTSTRAP)])
def test_the_answers_target_moves_to_what_is_read_at_the_reply(progress: float, share: float) -> None:
    reading = Reading(torch.tensor(LOGITS), torch.tensor(REPLIES))
    settings = Prm(pairwise_weight=2.0, reply_weight=0.5)
    blended = [(1 - share) * q + share * sigmoid(x) for q, x in zip(TARGETS, REPLIES, strict=True)]
    # At the reply the target is always Eq. 1's; at the answer pairs are ordered as the blended targets are.
    expected = value(LOGITS, blended, PAIRS, 2.0) + 0.5 * value(REPLIES, TARGETS, PAIRS, 2.0)
    assert loss_of(terms_of(reading, SOME, settings, progress)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_fully_bootstrapped_answer_believes_the_reply() -> None:
    settings = Prm(pairwise_weight=0.0)

    def gradient(progress: float) -> torch.Tensor:
        answer = torch.tensor(REPLIES, requires_grad=True)
        loss_of(terms_of(Reading(answer, torch.tensor(REPLIES)), SOME, settings, progress)).backward()
        assert answer.grad is not None
        return answer.grad

    torch.testing.assert_close(gradient(1 / BOOTSTRAP), torch.zeros(5), atol=1e-6, rtol=0)
    assert gradient(0.0).abs().min() > 0.01, "at first it believes the return"


def test_no_gradient_reaches_the_reply_through_the_answers_target() -> None:
    settings = Prm(pairwise_weight=2.0)
    grads = []
    for progress in (0.0, 1.0):
        reply = torch.tensor(REPLIES, requires_grad=True)
        loss_of(terms_of(Reading(torch.tensor(LOGITS), reply), SOME, settings, progress)).backward()
        grads.append(reply.grad)
    alone = torch.tensor(REPLIES, requires_grad=True)
    value(alone, TARGETS, PAIRS, 2.0).backward()
    for grad in grads:
        torch.testing.assert_close(grad, alone.grad)


def test_the_relative_loss_is_trls() -> None:
    """TRL's RewardTrainer, given these rewards, computes it; pairs below the margin are left out."""
    from trl import RewardTrainer

    logits, targets = torch.tensor([1.0, -0.5, 2.0, 0.3]), torch.tensor([0.9, 0.1, 0.5, 0.52])
    first, second = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3])
    ours = loss_of({"pairs": relative_term(logits, targets, first, second, 0.1)})

    class Given(torch.nn.Module):
        """The rewards of the better answers, then those of the worse."""

        def forward(self, **inputs: object) -> SimpleNamespace:
            return SimpleNamespace(logits=torch.tensor([[1.0], [2.0], [-0.5], [-0.5]]))

    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=None),
        accelerator=SimpleNamespace(gather_for_metrics=lambda values: values, gather=lambda values: values),
        aux_loss_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
    )
    inputs = {"input_ids": torch.zeros(4, 1, dtype=torch.long), "attention_mask": torch.ones(4, 1)}
    theirs = RewardTrainer.compute_loss(trainer, Given(), inputs)
    assert float(ours) == pytest.approx(float(theirs))
