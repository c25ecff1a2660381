"""A transformer that remembers many conversations at once: one pre-allocated key-value cache, one slot a conversation.

Only new tokens are ever fed. A slot's index in the cache is the token's position, so nothing is copied or concatenated
while an episode grows. Behind a slot's length lies scratch room: candidates that all continue the same conversation
are written there, each seeing the conversation and itself but not the others, until one of them is kept.
"""

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

_LENGTH_CLASSES = (32, 128, 512, 2048)


class ContextOverflow(ValueError):
    """A conversation that has outgrown the cache."""


class _SlotLayer(CacheLayerMixin):
    """One layer's keys and values: (slots, kv_heads, capacity, head_dim)."""

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__()
        self.slots, self.capacity = slots, capacity
        self.rows = torch.zeros(0, dtype=torch.long)
        self.write = torch.zeros(0, 0, dtype=torch.long)
        self.visible = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        _, heads, _, width = key_states.shape
        self.keys = key_states.new_zeros(self.slots, heads, self.capacity, width)
        self.values = value_states.new_zeros(self.slots, heads, self.capacity, width)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys[self.rows[:, None], :, self.write] = key_states.transpose(1, 2)
        self.values[self.rows[:, None], :, self.write] = value_states.transpose(1, 2)
        return self._seen(self.keys), self._seen(self.values)

    def _seen(self, store: torch.Tensor) -> torch.Tensor:
        if len(self.rows) == self.slots:
            return store[:, :, : self.visible]
        return store[:, :, : self.visible].index_select(0, self.rows)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.visible, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self.capacity


class SlotModel:
    """The trunk of a causal or sequence-classification model over slots of cached conversations."""

    def __init__(self, model: PreTrainedModel, *, slots: int, capacity: int) -> None:
        self.trunk: PreTrainedModel = model.base_model
        self.slots, self.capacity = slots, capacity
        self.lengths = torch.zeros(slots, dtype=torch.long)
        self._layers = [_SlotLayer(slots, capacity) for _ in range(model.config.num_hidden_layers)]
        self._cache = Cache(layers=self._layers)

    def clear(self, slot: int) -> None:
        """Forgets the slot's conversation."""
        self.lengths[slot] = 0

    def feed(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Appends tokens to slots (each named once, in ascending order); hidden state behind each last one (B, H).

        A whole history and a short observation are not padded to each other: lengths are read class by class.
        """
        classes = [bisect_left(_LENGTH_CLASSES, len(ids)) for ids in tokens]
        hidden: torch.Tensor | None = None
        for length_class in sorted(set(classes)):
            members = [i for i, c in enumerate(classes) if c == length_class]
            last = self._feed_alike([slots[i] for i in members], [tokens[i] for i in members])
            hidden = last.new_empty(len(slots), last.shape[-1]) if hidden is None else hidden
            hidden[members] = last
        assert hidden is not None, "feed() needs at least one slot"
        return hidden

    def _feed_alike(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        rows = torch.tensor(slots)
        counts = torch.tensor([len(ids) for ids in tokens])
        padded = pad_sequence([torch.tensor(ids) for ids in tokens], batch_first=True)
        positions = self.lengths[rows][:, None] + torch.arange(padded.shape[1])
        # Padding is written behind the row's end, where the next tokens overwrite it, and no real token sees it.
        mask = torch.arange(int(positions.max()) + 1) <= positions[..., None]
        hidden = self.forward(rows, padded, positions, positions, mask)
        self.lengths[rows] += counts
        return hidden[torch.arange(len(rows)), counts - 1]

    def forward(
        self,
        rows: torch.Tensor,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        write: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Hidden states (B, T, H) of tokens (B, T), written at `write` (B, T), seeing `mask` (B, T, L)."""
        if int(write.max()) >= self.capacity:
            raise ContextOverflow(
                f"a conversation needs {int(write.max()) + 1} tokens, the cache holds {self.capacity}: "
                "raise the model's context or lower max_steps or max_new_tokens"
            )
        for layer in self._layers:
            layer.rows, layer.write, layer.visible = rows, write, mask.shape[-1]
        out = self.trunk(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        hidden: torch.Tensor = out.last_hidden_state
        return hidden

    def keep(self, rows: torch.Tensor, scratch: torch.Tensor, counts: torch.Tensor) -> None:
        """Makes scratch tokens part of their conversations: those at `scratch` (B, T), the first `counts` (B)."""
        target = self.lengths[rows][:, None] + torch.arange(scratch.shape[1])
        for layer in self._layers:
            for store in (layer.keys, layer.values):
                store[rows[:, None], :, target] = store[rows[:, None], :, scratch]
        self.lengths[rows] += counts
