"""InversePRM (section 3 of the paper, Eqs. 6 to 10): a reward learnt from who acted, no outcome read.

The reward Q(s, a) - gamma E_{a' ~ pi} Q(s', a') (Eq. 8) is to be high where the expert acts and low where the policies
so far do (Eq. 9). As a classifier: it is the logit of "the expert did this", learnt by binary cross-entropy with
gradients through both terms.
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from agentprm_dagster.algorithm.terms import Term


def transition_rewards(
    q: torch.Tensor, next_q: torch.Tensor, owners: torch.Tensor, shares: torch.Tensor, gamma: float
) -> torch.Tensor:
    """Q(s, a) - gamma E Q(s', a') of every transition (D,): Eq. 8.

    Args:
        q: Q(s, a) of every transition (D,).
        next_q: Q(s', a') of every answer a' (A,); behind the turn that ends a game there is none.
        owners: which transition each a' follows (A,).
        shares: how much of the answers of its s' each a' is (A,), in [0, 1].
        gamma: the discount.
    """
    return q - gamma * torch.zeros_like(q).index_add(0, owners, shares * next_q)


def discrimination_term(rewards: torch.Tensor, expert: torch.Tensor, weights: torch.Tensor) -> Term:
    """Weighted binary cross-entropy of rewards (D,) as logits of "the expert did this" (Eq. 9), in nats.

    `expert` (D,) is 1 where it did, `weights` (D,) is how much each transition counts; a mean over the transitions.
    """
    return Term(binary_cross_entropy_with_logits(rewards, expert, weights, reduction="sum"), len(rewards))
