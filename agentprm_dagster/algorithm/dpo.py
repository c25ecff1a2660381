"""Pairs of answers and what DPO makes of them: the sigmoid loss, hard or soft; the divergence from the reference."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch.nn.functional import logsigmoid

VALUE_RANGE = (0.01, 0.99)
"""Values are clamped to it before their logits are compared: a PRM does not know them better than that."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two different answers in one state, by their place among all answers."""

    better: int
    worse: int


def ranked_pairs(
    states: Sequence[Hashable], values: Sequence[float], min_gap: float, *, extremes: bool = True
) -> list[Pair]:
    """Pairs of answers of one state whose values differ by at least `min_gap`: its best and worst, or all.

    `states` and `values` are those of every answer.
    """
    by_state: dict[Hashable, list[int]] = {}
    for i, state in enumerate(states):
        by_state.setdefault(state, []).append(i)
    pairs = []
    for members in by_state.values():
        ranked = sorted(members, key=lambda i: -values[i])
        tried = [(ranked[0], ranked[-1])] if extremes else combinations(ranked, 2)
        pairs += [Pair(a, b) for a, b in tried if values[a] > values[b] and values[a] - values[b] >= min_gap]
    return pairs


def dpo_loss(log_ratio_better: torch.Tensor, log_ratio_worse: torch.Tensor, beta: float) -> torch.Tensor:
    """TRL's sigmoid DPO loss of each pair: -log sigma(beta (log pi/ref(better) - log pi/ref(worse)))."""
    return -logsigmoid(beta * (log_ratio_better - log_ratio_worse))


def soft_dpo_loss(
    log_ratio_better: torch.Tensor, log_ratio_worse: torch.Tensor, beta: float, preference: torch.Tensor
) -> torch.Tensor:
    """The DPO loss (P,), in nats, expected where each pair's better answer wins with probability `preference` (P,).

    Least where beta times the difference of the log-ratios (P,) is logit(preference); at 1 it is `dpo_loss`. It is
    conservative DPO, TRL's `label_smoothing`, with a smoothing of 1 - preference for each pair.
    """
    won = dpo_loss(log_ratio_better, log_ratio_worse, beta)
    lost = dpo_loss(log_ratio_worse, log_ratio_better, beta)
    return preference * won + (1 - preference) * lost


def preferences(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
    """Bradley-Terry probability (P,) that `better` wins, values in [0, 1] (P,), with the values' logits as rewards."""
    reward = torch.stack([better, worse]).clamp(*VALUE_RANGE).logit()
    return (reward[0] - reward[1]).sigmoid()


def kl_divergence(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of categorical distributions given by log-probabilities (..., V), in nats (...)."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)
