"""Sampling whole answers from a model over slots: several from one conversation, which is read once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentprm_dagster.engine.base import Sampled
from agentprm_dagster.engine.drawing import draw_tokens
from agentprm_dagster.engine.embedded.backbones import Group, Reading
from agentprm_dagster.engine.embedded.slots import SlotModel
from agentprm_dagster.engine.heads import Head


@dataclass(frozen=True, slots=True)
class SlotSampled(Sampled):
    """Candidate answers, and where they lie."""

    scratch: torch.Tensor
    """(B, n, T) where in the cache each candidate's tokens lie."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Conversations of like length whose answers are drawn together."""

    members: torch.Tensor
    """(b,) which of the draw's conversations."""
    group: Group
    first: int
    """The first column of the answers."""
    mask: torch.Tensor
    """What the sequences see of all columns, as the backbone's mask of (b, n, columns)."""


class Sampler:
    """Draws answers from the hidden states behind each slot's last token."""

    def __init__(self, slots: SlotModel, head: Head, *, end: int, banned: Sequence[int]) -> None:
        self.slots, self.head, self.end = slots, head, end
        self.banned = torch.tensor([token for token in banned if token != end], dtype=torch.long)

    def draw(
        self,
        rows: Sequence[int],
        hidden: torch.Tensor,
        prefix: torch.Tensor,
        *,
        temperature: float,
        shares: torch.Tensor,
        idle: torch.Tensor | None = None,
    ) -> SlotSampled:
        """Samples an answer in every sequence, of at most T tokens, by uniform numbers `shares` (B, n, T).

        Temperature 0 is greedy.

        hidden (B, n, H) is the state behind the conversation's first `prefix` (B, n) tokens, which a sequence
        continues; sequences marked `idle` (B, n) give empty answers.
        """
        slots, order = torch.tensor(rows), torch.arange(len(rows))
        done = torch.zeros(prefix.shape, dtype=torch.bool) if idle is None else idle.clone()
        max_new_tokens = shares.shape[-1]
        drawn = torch.full(shares.shape, self.end)
        log_probabilities = torch.zeros(prefix.shape)
        batches: list[_Batch] = []
        for step in range(max_new_tokens):
            token, log_probability = self._pick(hidden, temperature, shares[order, :, step])
            drawn[order, :, step] = token.where(~done[order], self.end)
            log_probabilities[order] += log_probability.where(~done[order], 0.0)
            done |= drawn[..., step] == self.end
            if bool(done.all()) or step == max_new_tokens - 1:
                break
            if step == 0:
                batches = self._batches(slots, prefix, max_new_tokens)
            batches = self._thin(slots, batches, done, drawn)
            order = torch.cat([batch.members for batch in batches])
            hidden = self._advance(slots, batches, prefix + step, drawn[..., step])
        for batch in batches:
            self._settle(slots, batch, drawn)
        return self._collect(drawn[..., : step + 1], log_probabilities, self.slots.lengths[slots])

    def _pick(self, state: torch.Tensor, temperature: float, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids (B, n) drawn from the softmax of the logits behind states (B, n, H), and their log-probabilities.

        The latter are the model's own, of all its vocabulary, banned tokens included, and whatever the temperature.
        """
        logits = self.head(state).float()
        whole = logits.logsumexp(-1)
        logits[..., self.banned] = -torch.inf
        token = logits.argmax(-1) if temperature == 0 else draw_tokens(logits / temperature, shares)
        return token.cpu(), (logits.gather(-1, token[..., None]).squeeze(-1) - whole).cpu()

    def _batches(self, slots: torch.Tensor, prefix: torch.Tensor, max_new_tokens: int) -> list[_Batch]:
        """Copies the conversations, those of like length together; sequence c's step j is column filled + j * n + c."""
        steps, sequences = max_new_tokens - 1, prefix.shape[1]
        own = torch.eye(sequences, dtype=torch.bool).repeat(1, steps)
        batches = []
        for members in (
            self.slots.lengths[slots].argsort(descending=True, stable=True).split(self.slots.backbone.rows_together)
        ):
            group = self.slots.gather(slots[members], room=steps * sequences)
            before = torch.arange(group.filled) < prefix[members][..., None]
            sees = torch.cat([before, own.expand(len(members), -1, -1)], dim=-1)
            batches.append(_Batch(members, group, group.filled, self.slots.backbone.mask(sees)))
        return batches

    def _thin(
        self, slots: torch.Tensor, batches: Sequence[_Batch], done: torch.Tensor, drawn: torch.Tensor
    ) -> list[_Batch]:
        """Without conversations that are done, as soon as they are half of a batch: leaving them out takes a copy."""
        if 4 * int((~done).any(-1).sum()) > 3 * sum(len(batch.members) for batch in batches):
            return list(batches)
        thinned = []
        for batch in batches:
            alive = (~done[batch.members].all(-1)).nonzero().squeeze(-1)
            if 2 * len(alive) > len(batch.members):
                thinned.append(batch)
                continue
            self._settle(slots, batch, drawn)
            if len(alive):
                alive_here = alive.to(batch.mask.device)
                group = Group(batch.group.memory[alive_here], batch.group.filled, batch.group.positions[alive])
                thinned.append(_Batch(batch.members[alive], group, batch.first, batch.mask[alive_here]))
        return thinned

    def _settle(self, slots: torch.Tensor, batch: _Batch, drawn: torch.Tensor) -> None:
        """Writes what a batch has read so far to the slots' scratch room."""
        tokens = drawn[batch.members].transpose(1, 2).flatten(1)[:, : batch.group.filled - batch.first]
        self.slots.scatter(slots[batch.members], batch.group.memory[:, :, batch.first :], tokens)

    def _advance(
        self, slots: torch.Tensor, batches: Sequence[_Batch], positions: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Feeds one token (B, n) to every sequence of the batches; hidden states (B', n, H), batch after batch."""
        sequences = tokens.shape[1]
        readings = []
        for batch in batches:
            stop = batch.group.filled + sequences
            self.slots.require(int(self.slots.lengths[slots[batch.members]].max()) + stop - batch.first)
            mask = batch.mask[..., :stop]
            readings.append(Reading(batch.group, tokens[batch.members], positions[batch.members], mask))
        hidden = torch.cat(self.slots.backbone.read(readings))
        for batch in batches:
            batch.group.filled += sequences
        return hidden

    def _collect(self, drawn: torch.Tensor, log_probabilities: torch.Tensor, base: torch.Tensor) -> SlotSampled:
        ended = drawn == self.end
        finished = ended.any(-1)
        counts = torch.where(finished, ended.int().argmax(-1), drawn.shape[-1])
        tokens = [
            [ids[:count] for ids, count in zip(row, row_counts, strict=True)]
            for row, row_counts in zip(drawn.tolist(), counts.tolist(), strict=True)
        ]
        sequences = drawn.shape[1]
        scratch = base[:, None, None] + torch.arange(drawn.shape[-1]) * sequences + torch.arange(sequences)[:, None]
        return SlotSampled(tokens, finished.tolist(), log_probabilities, scratch)
