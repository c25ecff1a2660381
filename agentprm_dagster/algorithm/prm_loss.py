"""The loss of a process reward model: soft binary cross-entropy on Monte-Carlo targets (the paper's Eq. 2).

Beside Eq. 2 stands a pairwise term on states where several actions were tried: the value of a state is learnt long
before the value of an action in it, and only the latter moves a policy. The relative loss (section 4 of the paper)
reads such pairs alone.

The head is read a second time where the environment's reply ends. There the action's consequence is known, the same
target is learnt from a tenth of the data, and what is read becomes the target of the first reading (temporal
difference learning: Q(s, a) is the expectation of the value behind the reply).
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from agentprm_dagster.algorithm.relative_loss import relative_term
from agentprm_dagster.algorithm.terms import Term, Terms

BOOTSTRAP = 0.7
"""Share of the second reading in the first one's target at the end of training."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The head's logits for some decisions (D,)."""

    answer: torch.Tensor
    """At the answer's end token: Q(s, a), all that is known before acting."""
    reply: torch.Tensor | None
    """At the end of the environment's reply: the same value, the consequence known."""


def prm_terms(
    reading: Reading,
    targets: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    *,
    pairwise_weight: float,
    reply_weight: float,
    progress: float,
) -> Terms:
    """The terms of the loss: of the values read at the answers, and of those read at the replies.

    As training goes on (`progress` from 0 to 1), what the answer is to predict moves from the return of the rollouts
    to what is read at the reply, up to the share BOOTSTRAP: one rollout says little, the reply tells most.

    Args:
        targets: of every decision (D,), in [0, 1].
        first, second: decisions (P,) that are compared, see `value_terms`.
        pairwise_weight: of the pairwise term.
        reply_weight: of the terms of the second reading.
    """
    if reading.reply is None:
        return value_terms(reading.answer, targets, first, second, pairwise_weight)
    blended = torch.lerp(targets, reading.reply.detach().sigmoid(), BOOTSTRAP * progress)
    behind = value_terms(reading.reply, targets, first, second, pairwise_weight)
    return {
        **value_terms(reading.answer, blended, first, second, pairwise_weight),
        **{f"reply {n}": term._replace(total=reply_weight * term.total) for n, term in behind.items()},
    }


def relative_terms(
    reading: Reading,
    targets: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    *,
    margin: float,
    reply_weight: float,
) -> Terms:
    """The same where pairs alone are learnt from (`relative_loss`); `margin` is the least distance of their targets."""
    terms = {"pairs": relative_term(reading.answer, targets, first, second, margin)}
    if reading.reply is not None:
        reply = relative_term(reading.reply, targets, first, second, margin)
        terms["reply pairs"] = reply._replace(total=reply_weight * reply.total)
    return terms


def value_terms(
    logits: torch.Tensor, targets: torch.Tensor, first: torch.Tensor, second: torch.Tensor, pairwise_weight: float
) -> Terms:
    """Soft BCE (Eq. 2) of logits (D,) on targets (D,), and a pairwise term on decisions `first` and `second` (P,).

    The pairwise term is the logistic loss of the pair's order, weighted by how far its targets are apart; it is a mean
    over the pairs whose targets differ.
    """
    terms = {"decisions": Term(binary_cross_entropy_with_logits(logits, targets, reduction="sum"), len(targets))}
    if not pairwise_weight or not len(first):
        return terms
    gap = targets[first] - targets[second]
    order = softplus(-gap.sign() * (logits[first] - logits[second]))
    weight = gap.abs()
    return {**terms, "pairs": Term(pairwise_weight * (weight * order).sum(), float(weight.count_nonzero()))}
