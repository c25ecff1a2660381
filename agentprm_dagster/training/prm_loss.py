"""The loss of a process reward model: soft binary cross-entropy on Monte-Carlo targets (the paper's Eq. 2).

Beside Eq. 2 stands a pairwise term on states where several actions were tried: the value of a state is learnt long
before the value of an action in it, and only the latter moves a policy. The relative loss (section 4 of the paper)
reads such pairs alone.

The head is read a second time where the environment's reply ends. There the action's consequence is known, the same
target is learnt from a tenth of the data, and what is read becomes the target of the first reading (temporal
difference learning: Q(s, a) is the expectation of the value behind the reply).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from agentprm_dagster.config import Prm
from agentprm_dagster.models.token_tree import TokenTree
from agentprm_dagster.training.terms import Term, Terms


@dataclass(frozen=True, slots=True)
class Example:
    """One tree with the targets of its decisions."""

    tree: TokenTree
    ends: list[int]
    replies: list[int]
    """Where the reply to each decision ends; empty where replies are not read."""
    targets: list[float]
    rows: list[int]
    """Row of each decision in the targets table."""
    pairs: list[tuple[int, int]]
    """Different actions tried in one state, as positions in `ends`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The head's logits for some decisions (D,)."""

    answer: torch.Tensor
    """At the answer's end token: Q(s, a), all that is known before acting."""
    reply: torch.Tensor | None
    """At the end of the environment's reply: the same value, the consequence known."""


def prm_terms(reading: Reading, examples: Sequence[Example], settings: Prm, progress: float = 0.0) -> Terms:
    """The terms of the loss: of the values read at the answers, and of those read at the replies.

    As training goes on (`progress` from 0 to 1), what the answer is to predict moves from the return of the rollouts
    to what is read at the reply, up to the share `bootstrap`: one rollout says little, the reply tells most.
    """
    device = reading.answer.device
    targets = torch.tensor([target for example in examples for target in example.targets], device=device)
    first, second = _pair_index(examples)
    weight = settings.pairwise_weight
    if settings.loss == "relative":
        terms = {"pairs": relative_term(reading.answer, targets, first, second, settings.margin)}
        if reading.reply is not None:
            reply = relative_term(reading.reply, targets, first, second, settings.margin)
            terms["reply pairs"] = reply._replace(total=settings.reply_weight * reply.total)
        return terms
    if reading.reply is None:
        return value_terms(reading.answer, targets, first, second, weight)
    blended = torch.lerp(targets, reading.reply.detach().sigmoid(), settings.bootstrap * progress)
    behind = value_terms(reading.reply, targets, first, second, weight)
    return {
        **value_terms(reading.answer, blended, first, second, weight),
        **{f"reply {n}": term._replace(total=settings.reply_weight * term.total) for n, term in behind.items()},
    }


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


def _pair_index(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    first, second, offset = [], [], 0
    for example in examples:
        first += [offset + a for a, _ in example.pairs]
        second += [offset + b for _, b in example.pairs]
        offset += len(example.ends)
    return torch.tensor(first, dtype=torch.long), torch.tensor(second, dtype=torch.long)
