"""The relative loss (section 4 of the paper): Bradley-Terry on pairs of actions tried in one state."""

import torch
from torch.nn.functional import softplus

from agentprm_dagster.algorithm.terms import Term


def relative_term(
    logits: torch.Tensor, targets: torch.Tensor, first: torch.Tensor, second: torch.Tensor, margin: float
) -> Term:
    """Bradley-Terry, in nats: -log sigma(logit of the better - logit of the worse), TRL's RewardTrainer's loss.

    The items are the pairs `first`, `second` (P,) of decisions (D,) whose targets differ, by at least `margin`.
    """
    gap = targets[first] - targets[second]
    far = (gap != 0) & (gap.abs() >= margin)
    order = softplus(-gap.sign() * (logits[first] - logits[second]))
    return Term((far * order).sum(), float(far.sum()))
