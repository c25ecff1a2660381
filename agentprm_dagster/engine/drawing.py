"""Drawing tokens by uniform random numbers that are given: the same numbers draw the same answer in any company."""

from collections.abc import Sequence

import torch


def shares_of(seeds: Sequence[int], n: int, tokens: int) -> torch.Tensor:
    """Uniform numbers in [0, 1) of n answers of so many tokens (B, n, T), each conversation's from its own seed."""
    shares, generator = torch.empty(len(seeds), n, tokens), torch.Generator()
    for row, seed in zip(shares, seeds, strict=True):
        row.uniform_(generator=generator.manual_seed(seed))
    return shares


def draw_tokens(logits: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Token ids (...) of the softmax of logits (..., V), by uniform numbers (...): the inverse of its distribution.

    One random number a token, and no logarithms over the vocabulary.
    """
    below = logits.softmax(-1).cumsum(-1)
    share = shares[..., None].to(below) * below[..., -1:]
    # Rounding must not reach the whole: behind it there is no token.
    share = share.minimum(below[..., -1:].nextafter(torch.zeros(1, device=below.device)))
    return torch.searchsorted(below, share, right=True).squeeze(-1)
