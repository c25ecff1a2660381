"""Sampling whole answers from a model over slots: several candidates from one conversation, without reading it twice."""

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
        *,
        candidates: int,
        temperature: float,
        max_new_tokens: int,
        generator: torch.Generator,
    ) -> Sampled:
        """Samples `candidates` answers behind each row; hidden (B, H). Temperature 0 is greedy."""
        row = torch.tensor(rows)
        start = self.slots.lengths[row]
        state = hidden[:, None].expand(-1, candidates, -1)
        done = torch.zeros(len(row), candidates, dtype=torch.bool)
        steps: list[torch.Tensor] = []
        for step in range(max_new_tokens):
            token = self._pick(state, temperature, generator)
            steps.append(torch.where(done, self.end, token))
            done = done | (token == self.end)
            if bool(done.all()) or step == max_new_tokens - 1:
                break
            state = self._advance(row, start, steps[-1], step)
        return self._collect(torch.stack(steps, dim=-1), start, candidates)

    def _pick(self, state: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
        logits = self.head(state).float()
        logits[..., self.banned] = -torch.inf
        if temperature == 0:
            return logits.argmax(-1)
        # Gumbel-max: an argmax over noisy logits is a draw from the softmax.
        uniform = torch.rand(logits.shape, generator=generator).clamp_min_(1e-20)
        return (logits / temperature - torch.log(-torch.log(uniform))).argmax(-1)

    def _advance(self, row: torch.Tensor, start: torch.Tensor, token: torch.Tensor, step: int) -> torch.Tensor:
        """Feeds one token to every candidate; candidate c's step j lies at start + j * n + c."""
        candidates = token.shape[1]
        lane = torch.arange(candidates)
        write = start[:, None] + step * candidates + lane
        behind = torch.arange(int(write.max()) + 1) - start[:, None]
        own = (behind[:, None] % candidates == lane[:, None]) & (behind[:, None] < (step + 1) * candidates)
        mask = (behind[:, None] < 0) | own
        return self.slots.forward(row, token, (start + step)[:, None].expand_as(token), write, mask)

    def _collect(self, drawn: torch.Tensor, start: torch.Tensor, candidates: int) -> Sampled:
        ended = drawn == self.end
        finished = ended.any(-1)
        counts = torch.where(finished, ended.int().argmax(-1), drawn.shape[-1])
        tokens = [
            [ids[:count] for ids, count in zip(row, row_counts, strict=True)]
            for row, row_counts in zip(drawn.tolist(), counts.tolist(), strict=True)
        ]
        lane, step = torch.arange(candidates)[:, None], torch.arange(drawn.shape[-1])
        scratch = start[:, None, None] + step * candidates + lane
        return Sampled(tokens, finished.tolist(), scratch)
