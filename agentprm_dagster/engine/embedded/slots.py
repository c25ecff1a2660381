"""A transformer that remembers many conversations at once: one key-value cache, one slot a conversation.

Only new tokens are ever read. A slot's index in the cache is the token's position, so nothing is moved while an episode
grows. A conversation that begins like another, as branches of one state do, takes over what was read for that one,
even if it is over by now. Behind a slot's length lies scratch room: candidates that all continue the same conversation
are written there, until one of them is kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from agentprm_dagster.engine.base import ContextOverflow
from agentprm_dagster.engine.embedded.backbones import Group, Reading, backbone_of

_ROOM = 256
"""Tokens of every conversation that there is room for at first, and how many more each time it grows."""


@dataclass(frozen=True, slots=True)
class Segment:
    """New tokens behind the conversations of some slots."""

    rows: torch.Tensor
    """(b,) slots, each once."""
    tokens: torch.Tensor
    """(b, T)."""
    positions: torch.Tensor
    """(b, T) distance of each token from the conversation's start."""
    own: torch.Tensor
    """(T, T) bool: which of the new tokens each of them sees, besides the conversation."""


class SlotModel:
    """The backbone of a causal or sequence-classification model over slots of cached conversations.

    What was read is remembered: the weights may change only where every conversation is read anew by `read`.
    """

    def __init__(self, model: PreTrainedModel, *, slots: int, capacity: int) -> None:
        self.backbone = backbone_of(model)
        self.slots, self.capacity = slots, capacity
        self.lengths = torch.zeros(slots, dtype=torch.long)
        self.tokens_read = 0
        """Tokens fed so far that were not in the memory already."""
        stores = 2 * model.config.num_hidden_layers * self.backbone.kv_heads
        weight, device = model.get_input_embeddings().weight.detach(), model.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        self._memory = weight.new_zeros(slots, stores, min(capacity, _ROOM), self.backbone.width, dtype=dtype)
        # Which tokens the memory holds: of each slot the first `_held`, those of a conversation that is over as well.
        self._ids = torch.zeros(slots, capacity, dtype=torch.int32)
        self._held = torch.zeros(slots, dtype=torch.long)

    def clear(self, slot: int) -> None:
        """Ends the slot's conversation."""
        self.lengths[slot] = 0

    def take_last(self, slot: int) -> int:
        """Takes the last token off the slot's conversation, to be read again."""
        self.lengths[slot] -= 1
        return int(self._ids[slot, self.lengths[slot]])

    def feed(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Appends tokens to slots (each named once); hidden state behind each last one (B, H)."""
        self.require(max(int(self.lengths[slot]) + len(ids) for slot, ids in zip(slots, tokens, strict=True)))
        new = [torch.tensor(ids, dtype=torch.int32) for ids in tokens]
        begun: dict[int, int] = {}
        leaders, followers = set(), []
        fresh = (i for i, slot in enumerate(slots) if self.lengths[slot] == 0)
        for i in sorted(fresh, key=lambda i: -len(new[i])):
            source, shared = self._most_alike(new[i])
            if source in begun:  # It has yet to be read itself.
                leaders.add(begun[source])
                followers.append(i)
            else:
                new[i] = self._take_over(slots[i], new[i], source, shared)
                begun[slots[i]] = i
                self._held[slots[i]] += len(new[i])  # A promise, for those that begin alike.
        hidden = dict(self._append(slots, new, leaders))
        self._held[list(begun)] = self.lengths[list(begun)]
        for i in followers:
            new[i] = self._take_over(slots[i], new[i], *self._most_alike(new[i]))
        hidden.update(self._append(slots, new, set(range(len(slots))) - leaders))
        return torch.stack([hidden[i] for i in range(len(slots))])

    def _most_alike(self, ids: torch.Tensor) -> tuple[int, int]:
        """The slot that holds the longest beginning of a conversation, and how many of its tokens; never all."""
        count = len(ids) - 1
        same = (self._ids[:, :count] == ids[:count]) & (torch.arange(count) < self._held[:, None])
        shared, source = same.int().cumprod(1).sum(1).max(0)
        return int(source), int(shared)

    def _take_over(self, slot: int, ids: torch.Tensor, source: int, shared: int) -> torch.Tensor:
        """Begins a conversation with the first `shared` tokens that another slot holds; the tokens left to read."""
        if source != slot:
            self._memory[slot, :, :shared] = self._memory[source, :, :shared]
        self.lengths[slot] = shared
        self._ids[slot, : len(ids)] = ids
        self._held[slot] = shared
        return ids[shared:]

    def _append(
        self, slots: Sequence[int], new: Sequence[torch.Tensor], members: Iterable[int]
    ) -> Iterable[tuple[int, torch.Tensor]]:
        """Reads what is new to some slots, all in one pass; each member with its last hidden state."""
        parts = list(self._parts(slots, new, members))
        self.tokens_read += sum(len(new[i]) for part in parts for i in part)
        segments = [self.segment([slots[i] for i in part], [new[i] for i in part]) for part in parts]
        for part, segment, hidden in zip(parts, segments, self.read(segments), strict=True):
            counts = torch.tensor([len(new[i]) for i in part])
            self.lengths[segment.rows] += counts
            self._held[segment.rows] = self.lengths[segment.rows]
            yield from zip(part, hidden[torch.arange(len(part)), counts - 1], strict=True)

    def _parts(self, slots: Sequence[int], new: Sequence[torch.Tensor], members: Iterable[int]) -> Iterable[list[int]]:
        """Members with about as many new tokens, then of about the same length: few are padded to many."""

        def new_class(i: int) -> int:
            return (len(new[i]) - 1).bit_length()

        ordered = sorted(members, key=lambda i: (new_class(i), int(self.lengths[slots[i]])))
        for _, alike in groupby(ordered, key=new_class):
            while part := list(islice(alike, self.backbone.rows_together)):
                yield part

    def segment(self, slots: Sequence[int], new: Sequence[torch.Tensor]) -> Segment:
        """Tokens that continue conversations one after another, padded to the longest."""
        rows, tokens = torch.tensor(slots), pad_sequence(list(new), batch_first=True)
        length = tokens.shape[1]
        # Padding is written behind the row's end, where the next tokens overwrite it, and no real token sees it.
        own = torch.ones(length, length, dtype=torch.bool).tril()
        positions = (self.lengths[rows][:, None] + torch.arange(length)).clamp(max=self.capacity - 1)
        return Segment(rows, tokens, positions, own)

    def read(self, segments: Sequence[Segment]) -> list[torch.Tensor]:
        """Hidden states (b, T, H) of tokens, which are written behind their conversations as scratch."""
        readings = []
        for segment in segments:
            base, length = self.lengths[segment.rows], segment.tokens.shape[1]
            self._held[segment.rows] = self._held[segment.rows].minimum(base)
            group = self.gather(segment.rows, room=length)
            before = torch.arange(group.filled) < base[:, None, None]
            batch = len(segment.rows)
            sees = torch.cat([before.expand(-1, length, -1), segment.own.expand(batch, -1, -1)], dim=-1)
            readings.append(Reading(group, segment.tokens, segment.positions, self.backbone.mask(sees)))
        hidden = self.backbone.read(readings) if readings else []
        for segment, reading in zip(segments, readings, strict=True):
            self.scatter(segment.rows, reading.group.memory[:, :, reading.group.filled :], segment.tokens)
        return hidden

    def gather(self, rows: torch.Tensor, *, room: int) -> Group:
        """The conversations of some slots (b,) side by side, with room for new columns."""
        filled = int(self.lengths[rows].max())
        memory = self._memory[:, :, : filled + room].index_select(0, rows.to(self._memory.device))
        positions = torch.arange(filled + room).repeat(len(rows), 1)
        return Group(_with_columns(memory, filled + room), filled, positions)

    def scatter(self, rows: torch.Tensor, memory: torch.Tensor, tokens: torch.Tensor) -> None:
        """Writes tokens (b, T) behind their conversations, from the first T columns of a group's `memory`."""
        if not tokens.numel():  # Answers that ended with their first token.
            return
        target = self.lengths[rows][:, None] + torch.arange(tokens.shape[1])
        # Where one conversation of a group is near the end of its slot, another's padding may lie beyond it.
        row, column = (target < self.capacity).nonzero(as_tuple=True)
        slot, index = rows[row], target[row, column]
        self._make_room(min(int(target.max()) + 1, self.capacity))
        self._memory[slot, :, index] = memory[row, :, column]
        self._ids[slot, index] = tokens[row, column].int()

    def _make_room(self, columns: int) -> None:
        """A model may allow for far longer conversations than are ever held: the memory grows with them."""
        if columns > self._memory.shape[2]:
            self._memory = _with_columns(self._memory, min(-(-columns // _ROOM) * _ROOM, self.capacity))

    def keep(self, rows: torch.Tensor, scratch: torch.Tensor, counts: torch.Tensor) -> None:
        """Makes scratch tokens part of their conversations: those at `scratch` (B, T), the first `counts` (B)."""
        target = self.lengths[rows][:, None] + torch.arange(scratch.shape[1])
        if not torch.equal(target, scratch):
            row, column = (torch.arange(scratch.shape[1]) < counts[:, None]).nonzero(as_tuple=True)
            slot, index, source = rows[row], target[row, column], scratch[row, column]
            self._memory[slot, :, index] = self._memory[slot, :, source]
            self._ids[slot, index] = self._ids[slot, source]
        self.lengths[rows] += counts
        self._held[rows] = self.lengths[rows]

    def require(self, tokens: int) -> None:
        """Raises ContextOverflow where a slot has no room for a conversation of so many tokens."""
        if tokens > self.capacity:
            raise ContextOverflow(tokens, self.capacity)


def _with_columns(memory: torch.Tensor, columns: int) -> torch.Tensor:
    """The memory, with room for at least so many tokens."""
    missing = columns - memory.shape[2]
    return pad(memory, (0, 0, 0, missing)) if missing > 0 else memory
