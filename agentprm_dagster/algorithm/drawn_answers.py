"""Answers that a policy has drawn, token by token: what sums and weights over them are taken of."""

from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class DrawnAnswers:
    """The different answers (C) that were drawn in some states, with all their tokens (N) one answer after another.

    Of an answer that was cut at the token limit the end token is none of them: it was not drawn.
    """

    tokens: torch.Tensor
    """(N,) ids."""
    lengths: list[int]
    """How many tokens each answer has."""
    states: torch.Tensor
    """(C,) which state each answer was drawn in, counted from 0."""
    draws: torch.Tensor
    """(C,) how often each was drawn."""

    @cached_property
    def _owners(self) -> torch.Tensor:
        return torch.arange(len(self.lengths)).repeat_interleave(torch.tensor(self.lengths))

    def sums(self, per_token: torch.Tensor) -> torch.Tensor:
        """Sums (C,) of something per token (N,) over each answer's tokens."""
        return per_token.new_zeros(len(self.lengths)).index_add(0, self._owners.to(per_token.device), per_token)
