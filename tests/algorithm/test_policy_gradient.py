"""The clipped policy gradient: by hand, and as TRL's GRPOTrainer computes it."""

from collections import defaultdict
from math import exp, log
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

from agentprm_dagster.algorithm.drawn_answers import DrawnAnswers
from agentprm_dagster.algorithm.policy_gradient import (
    clipped_loss,
    k3,
    policy_gradient_items,
    policy_gradient_terms,
)
from agentprm_dagster.algorithm.terms import items_of, loss_of

CLIP = 0.2


def answers_of(lengths: list[int]) -> DrawnAnswers:
    """Answers of so many tokens, each in a state of its own."""
    count = len(lengths)
    return DrawnAnswers(torch.zeros(sum(lengths)), lengths, states=torch.arange(count), draws=torch.ones(count))


def test_the_clip_by_hand() -> None:
    ratios, advantages = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1]), torch.tensor([2.0, -2.0, 2.0, -2.0, 3.0])
    log_p = ratios.log().requires_grad_()
    loss, clipped = clipped_loss(log_p, torch.zeros(5), advantages, CLIP)
    torch.testing.assert_close(loss, torch.tensor([-2.4, 3.0, -1.0, 1.6, -3.3]))
    assert clipped.tolist() == [True, False, False, True, False]
    loss.sum().backward()
    assert log_p.grad is not None
    # Where nothing is clipped the gradient is that of the ratio: -r A.
    torch.testing.assert_close(log_p.grad, torch.tensor([0.0, 3.0, -1.0, 0.0, -3.3]))


def test_k3_by_hand() -> None:
    log_p, log_reference = torch.tensor([log(0.5), log(0.2)]), torch.tensor([log(0.5), log(0.4)])
    torch.testing.assert_close(k3(log_p, log_reference), torch.tensor([0.0, 2 - log(2) - 1]))
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.3, 0.2])
    torch.testing.assert_close((p * k3(p.log(), q.log())).sum(), (p * (p / q).log()).sum())  # its mean is the KL


def test_the_terms_by_hand() -> None:
    log_p = torch.tensor([0.0, log(1.1), log(0.9)])
    terms, numbers = policy_gradient_terms(
        answers_of([2, 1]), log_p, torch.zeros(3), torch.tensor([1.0, -2.0]), clip=CLIP, kl_weight=0.5
    )
    assert float(terms["answers"].total) == pytest.approx(-(1 + 1.1) / 2 + 2 * 0.9)
    k3s = [0.0, exp(-log(1.1)) + log(1.1) - 1, exp(-log(0.9)) + log(0.9) - 1]
    assert float(terms["kl"].total) == pytest.approx(0.5 * (k3s[1] / 2 + k3s[2]), abs=1e-6)
    assert numbers == pytest.approx({"draws": 2.0, "kl": (k3s[1] + k3s[2]) / 2, "clipped": 0.0}, abs=1e-6)
    assert items_of(terms) == policy_gradient_items(2)


def test_the_loss_is_trls() -> None:
    lengths, weight, random = [4, 2, 5], 0.07, torch.Generator().manual_seed(0)
    padded = torch.randn(3, 5, 3, generator=random)
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    log_p, before = (padded[..., i] / 3 - 2 for i in (0, 1))
    advantages = torch.tensor([1.2, -0.7, 0.4])
    stub: Any = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (log_p, torch.zeros(3, 5), None),
        accelerator=SimpleNamespace(gather=lambda tensor: tensor, reduce=lambda tensor, **_: tensor, num_processes=1),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False),
        model=SimpleNamespace(training=False),
        _metrics=defaultdict(lambda: defaultdict(list)),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        loss_type="grpo",
        epsilon_low=CLIP,
        epsilon_high=CLIP,
        beta=weight,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        use_adaptive_entropy=False,
        entropy_coef=0.0,
    )
    ids = {name: torch.zeros(3, 5, dtype=torch.long) for name in ("prompt_ids", "completion_ids")}
    inputs = {**ids, "prompt_mask": ids["prompt_ids"], "completion_mask": mask.long(), "advantages": advantages}
    known = {"old_per_token_logps": before, "ref_per_token_logps": before}
    theirs = GRPOTrainer._compute_loss(stub, stub.model, {**inputs, **known})
    terms, _ = policy_gradient_terms(
        answers_of(lengths), log_p[mask], before[mask], advantages, clip=CLIP, kl_weight=weight
    )
    assert float(loss_of(terms)) == pytest.approx(float(theirs), rel=1e-5)
