"""Sampling whole answers from a model over slots: several from one conversation, which is read once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentprm_dagster.inference.slots import SlotModel


@dataclass(frozen=True, slots=True)
class Sampled:
    """Candidate answers of B conversations, n each."""

    tokens: list[list[list[int]]]
    """[B][n] token ids without the end token."""
    finished: list[list[bool]]
    """[B][n] whether the answer ended by itself; else it was cut at the token limit."""
    scratch: torch.Tensor
    """(B, n, T) where in the cache each candidate's tokens lie."""


class Sampler:
    """Draws answers from the hidden states behind each slot's last token."""

    def __init__(self, slots: SlotModel, head: torch.nn.Module, *, end: int, banned: Sequence[int]) -> None:
        self.slots, self.head, self.end = slots, head, end
        self.banned = torch.tensor([token for token in banned if token != end], dtype=torch.long)

    def draw(
        self,
        rows: Sequence[int],
        hidden: torch.Tensor,
        prefix: torch.Tensor,
        *,
        temperature: float,
        max_new_tokens: int,
        generator: torch.Generator,
        idle: torch.Tensor | None = None,
    ) -> Sampled:
        """Samples an answer in every lane. Temperature 0 is greedy.

        hidden (B, n, H) is the state behind the conversation's first `prefix` (B, n) tokens, which a lane continues;
        lanes marked `idle` (B, n) give empty answers.
        """
        row = torch.tensor(rows)
        base = self.slots.lengths[row]
        done = torch.zeros(prefix.shape, dtype=torch.bool) if idle is None else idle
        steps: list[torch.Tensor] = []
        for step in range(max_new_tokens):
            token = self._pick(hidden, temperature, generator)
            steps.append(torch.where(done, self.end, token))
            done = done | (token == self.end)
            if bool(done.all()) or step == max_new_tokens - 1:
                break
            hidden = self._advance(row, base, prefix, steps[-1], step)
        return self._collect(torch.stack(steps, dim=-1), base)

    def _pick(self, state: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
        logits = self.head(state).float()
        logits[..., self.banned] = -torch.inf
        if temperature == 0:
            return logits.argmax(-1)
        # Gumbel-max: an argmax over noisy logits is a draw from the softmax.
        uniform = torch.rand(logits.shape, generator=generator).clamp_min_(1e-20)
        return (logits / temperature - torch.log(-torch.log(uniform))).argmax(-1)

    def _advance(
        self, row: torch.Tensor, base: torch.Tensor, prefix: torch.Tensor, token: torch.Tensor, step: int
    ) -> torch.Tensor:
        """Feeds one token to every lane; lane c's step j lies at base + j * n + c."""
        lanes = token.shape[1]
        lane = torch.arange(lanes)
        write = base[:, None] + step * lanes + lane
        index = torch.arange(int(write.max()) + 1)
        behind = index - base[:, None]
        own = (behind[:, None] >= 0) & (behind[:, None] % lanes == lane[:, None])
        mask = (index < prefix[..., None]) | (own & (behind[:, None] < (step + 1) * lanes))
        return self.slots.forward(row, token, prefix + step, write, mask)

    def _collect(self, drawn: torch.Tensor, base: torch.Tensor) -> Sampled:
        ended = drawn == self.end
        finished = ended.any(-1)
        counts = torch.where(finished, ended.int().argmax(-1), drawn.shape[-1])
        tokens = [
            [ids[:count] for ids, count in zip(row, row_counts, strict=True)]
            for row, row_counts in zip(drawn.tolist(), counts.tolist(), strict=True)
        ]
        lanes = drawn.shape[1]
        scratch = base[:, None, None] + torch.arange(drawn.shape[-1]) * lanes + torch.arange(lanes)[:, None]
        return Sampled(tokens, finished.tolist(), scratch)
