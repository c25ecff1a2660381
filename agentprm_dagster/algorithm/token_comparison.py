"""What a policy and its reference say of drawn tokens, as far as a loss needs it: four numbers a token.

The logits of the whole vocabulary, which they are read off, are by far the largest thing that policy improvement
computes. They are needed for a moment only, and for some tokens at a time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from agentprm_dagster.algorithm.dpo import kl_divergence


class TokenComparison(NamedTuple):
    """Of every drawn token (N,), in nats."""

    log_p: torch.Tensor
    """log p of the token, by the policy."""
    log_reference: torch.Tensor
    """The same by the reference."""
    kl: torch.Tensor
    """KL(p || reference) of the next token, where this one was drawn."""
    log_tempered: torch.Tensor
    """log of p(token) / p_T(token), both without the tokens that are never drawn; without gradient."""


def compare_tokens(
    logits: torch.Tensor,
    reference: torch.Tensor,
    tokens: torch.Tensor,
    *,
    temperature: float,
    banned: Sequence[int] = (),
) -> torch.Tensor:
    """A TokenComparison's fields as columns (N, 4).

    Args:
        logits: of the policy at every drawn token (N, V).
        reference: those of the reference, as `logits`.
        tokens: what was drawn (N,).
        temperature: at which the policy drew.
        banned: tokens that are never drawn.
    """
    log_p, log_reference = logits.float().log_softmax(-1), reference.float().log_softmax(-1)
    chosen = tokens.to(log_p.device)[:, None]
    columns = (
        log_p.gather(-1, chosen).squeeze(-1),
        log_reference.gather(-1, chosen).squeeze(-1),
        kl_divergence(log_p, log_reference),
        _log_tempered(log_p.detach(), chosen, temperature, banned),
    )
    return torch.stack(columns, -1)


def _log_tempered(log_p: torch.Tensor, chosen: torch.Tensor, temperature: float, banned: Sequence[int]) -> torch.Tensor:
    if temperature == 1:
        return torch.zeros_like(log_p[:, 0])
    allowed = log_p.index_fill(-1, torch.tensor(banned, dtype=torch.long, device=log_p.device), -torch.inf)
    allowed = allowed - allowed.amax(-1, keepdim=True)  # else a low temperature leaves no digits
    drawn, whole = allowed.gather(-1, chosen).squeeze(-1), allowed.logsumexp(-1)
    return drawn - whole - (drawn / temperature - (allowed / temperature).logsumexp(-1))
