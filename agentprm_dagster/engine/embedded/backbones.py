"""A transformer's layers over cached conversations: our own lean pass for Llama models, transformers' for all others.

A small model that reads one token a conversation spends its time between the operations, not in them. For Llama the
pass here does what transformers does with a third of the operations, and the conversations may stand in several groups
of different widths: all but attention is computed for all groups together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu
from transformers import Cache, DynamicCache, LlamaModel, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from agentprm_dagster.engine.architectures import ArchitectureError, require_length
from agentprm_dagster.engine.embedded.attention import layer_masks


@dataclass(slots=True)
class Group:
    """Some conversations' keys and values side by side; new tokens stand in the same columns for all of them."""

    memory: torch.Tensor
    """(b, layers * 2 * kv_heads, columns, head_dim): each layer's keys, then its values."""
    filled: int
    """Columns in use; new tokens are written behind them."""
    positions: torch.Tensor
    """(b, columns) distance of each column's token from its conversation's start."""


@dataclass(frozen=True, slots=True)
class Reading:
    """New tokens of a group's conversations."""

    group: Group
    tokens: torch.Tensor
    """(b, T)."""
    positions: torch.Tensor
    """(b, T) distance of each token from its conversation's start."""
    mask: torch.Tensor
    """What each token sees of the group's first filled + T columns, as the backbone's `mask` gives it."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """One layer's own parameters, which training changes where they are; (weight, bias or None) of each product."""

    attention_norm: torch.Tensor
    query: tuple[torch.Tensor, torch.Tensor | None]
    key: tuple[torch.Tensor, torch.Tensor | None]
    value: tuple[torch.Tensor, torch.Tensor | None]
    out: tuple[torch.Tensor, torch.Tensor | None]
    mlp_norm: torch.Tensor
    gate: tuple[torch.Tensor, torch.Tensor | None]
    up: tuple[torch.Tensor, torch.Tensor | None]
    down: tuple[torch.Tensor, torch.Tensor | None]

    @classmethod
    def of(cls, layer: Any) -> "_Weights":
        attention, mlp = layer.self_attn, layer.mlp
        products = {
            "query": attention.q_proj,
            "key": attention.k_proj,
            "value": attention.v_proj,
            "out": attention.o_proj,
            "gate": mlp.gate_proj,
            "up": mlp.up_proj,
            "down": mlp.down_proj,
        }
        return cls(
            attention_norm=layer.input_layernorm.weight,
            mlp_norm=layer.post_attention_layernorm.weight,
            **{name: (module.weight, module.bias) for name, module in products.items()},
        )


class LeanLlama:
    """The layers of a Llama; its weights are read where they are, so that training shows at once."""

    def __init__(self, model: LlamaModel) -> None:
        config = model.config
        self.rows_together = 16 if model.device.type == "cpu" else 64
        """Conversations in a group. Few of like length leave little to pad, and stay in a core's cache; on a GPU every
        group starts operations of its own, which take longer to start than to compute."""
        self.model, self.width = model, config.head_dim
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._epsilon = config.rms_norm_eps
        # Not the modules: at one token a conversation a module's call takes as long as its product.
        self._layers = [_Weights.of(layer) for layer in model.layers]
        self._rotations = self._rotation_table(1)

    @staticmethod
    def suits(model: PreTrainedModel) -> bool:
        """Whether this is a plain Llama; one whose rotation depends on the length read is not."""
        linear = (each for name, each in model.named_modules() if name.endswith("_proj"))
        return (
            type(model) is LlamaModel
            and all(type(each) is torch.nn.Linear for each in linear)  # and none has an adapter
            and not any(isinstance(each, DTensor) for each in model.parameters())  # nor is spread over processes
            and model.config.hidden_act == "silu"
            and model.config.rope_parameters["rope_type"] in ("default", "linear", "llama3")
        )

    def mask(self, sees: torch.Tensor) -> torch.Tensor:
        """From (b, T, L) bool to what is added to the scores, (b, 1, group * T, L): a group's query heads in turn."""
        weight = self.model.embed_tokens.weight
        added = torch.zeros(sees.shape, dtype=weight.dtype).masked_fill_(~sees, -torch.inf)
        return added.repeat(1, self.heads // self.kv_heads, 1)[:, None].to(weight.device)

    def read(self, readings: Sequence[Reading]) -> list[torch.Tensor]:
        """Hidden states (b, T, H) of each reading's tokens; their keys and values lie in the groups afterwards."""
        model, device = self.model, self.model.embed_tokens.weight.device
        tokens = torch.cat([reading.tokens.flatten() for reading in readings]).to(device)
        rotation = self._rotation(torch.cat([reading.positions.flatten() for reading in readings]).to(device))
        hidden = embedding(tokens, model.embed_tokens.weight)
        for index, layer in enumerate(self._layers):
            hidden = hidden + linear(self._attend(layer, index, hidden, rotation, readings), *layer.out)
            normed = self._norm(hidden, layer.mlp_norm)
            hidden = hidden + linear(
                silu(linear(normed, *layer.gate), inplace=True) * linear(normed, *layer.up), *layer.down
            )
        parts = self._norm(hidden, model.norm.weight).split([reading.tokens.numel() for reading in readings])
        return [part.unflatten(0, reading.tokens.shape) for part, reading in zip(parts, readings, strict=True)]

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Root-mean-square norm, by the vector's length: half the operations of `rms_norm` on a CPU."""
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
        scale = square.mul_(1 / x.shape[-1]).add_(self._epsilon).rsqrt_()
        return (x * scale.to(x.dtype)).mul_(weight)

    def _attend(
        self,
        layer: _Weights,
        index: int,
        hidden: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        readings: Sequence[Reading],
    ) -> torch.Tensor:
        """Attention of one layer, group after group (N, heads * d)."""
        normed = self._norm(hidden, layer.attention_norm)
        projected = torch.cat(
            [linear(normed, *layer.query), linear(normed, *layer.key), linear(normed, *layer.value)], -1
        )
        heads = projected.view(len(normed), -1, self.width)
        turned, (cos, sin) = heads[:, : self.heads + self.kv_heads], rotation
        torch.addcmul(turned * cos, turned.roll(self.width // 2, -1), sin, out=turned)
        stores = slice(2 * self.kv_heads * index, 2 * self.kv_heads * (index + 1))
        parts = heads.split([reading.tokens.numel() for reading in readings])
        mixed = [self._mix(reading, stores, part) for reading, part in zip(readings, parts, strict=True)]
        return torch.cat(mixed) if len(mixed) > 1 else mixed[0]

    def _mix(self, reading: Reading, stores: slice, heads: torch.Tensor) -> torch.Tensor:
        """Attention of one group in one layer: heads (b * T, heads + 2 * kv_heads, d), queries first.

        The query heads that share keys stand beside each other as more queries of the same keys: nothing is copied.
        """
        (b, length), kv_heads, width = reading.tokens.shape, self.kv_heads, self.width
        stop = reading.group.filled + length
        heads = heads.view(b, length, -1, width).transpose(1, 2)
        memory = reading.group.memory[:, stores, :stop]
        memory[:, :, reading.group.filled :] = heads[:, self.heads :]
        query = heads[:, : self.heads].reshape(b, kv_heads, -1, width)
        mixed = scaled_dot_product_attention(query, memory[:, :kv_heads], memory[:, kv_heads:], attn_mask=reading.mask)
        return mixed.view(b, self.heads, length, width).transpose(1, 2).reshape(b * length, -1)

    def _rotation(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors (N, 1, d) of each token's queries and keys, and of the same with their halves exchanged."""
        cos, sin = self._rotations
        if int(positions.max()) >= len(cos):
            cos, sin = self._rotations = self._rotation_table(2 * int(positions.max()))
        return cos[positions], sin[positions]

    def _rotation_table(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        weight = self.model.embed_tokens.weight
        with torch.no_grad():
            cos, sin = self.model.rotary_emb(weight, torch.arange(length, device=weight.device)[None])
        sin[..., : self.width // 2].neg_()
        return cos[0, :, None], sin[0, :, None]


class StockBackbone:
    """Any decoder as transformers runs it."""

    rows_together = 64

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        # Configurations say in many ways how many keys a layer keeps: one token tells.
        cache = DynamicCache()
        with torch.no_grad():
            model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), past_key_values=cache)
        shapes = {tuple(each.shape) for layer in cache.layers for each in (layer.keys, layer.values)}
        if len(shapes) > 1:
            raise ArchitectureError(f"{type(model).__name__} keeps keys and values of several sizes: use another model")
        ((_, self.kv_heads, _, self.width),) = shapes

    def mask(self, sees: torch.Tensor) -> torch.Tensor:
        """(b, T, L) bool as it is: how far a layer looks back depends on where its tokens stand."""
        return sees

    def read(self, readings: Sequence[Reading]) -> list[torch.Tensor]:
        """Hidden states (b, T, H) of each reading's tokens; their keys and values lie in the groups afterwards."""
        return [self._read(reading) for reading in readings]

    def _read(self, reading: Reading) -> torch.Tensor:
        require_length(self.model.config, 1 + int(reading.positions.max()))
        group, device = reading.group, self.model.device
        stop = group.filled + reading.tokens.shape[1]
        group.positions[:, group.filled : stop] = reading.positions
        sees, queries, keys = (each.to(device) for each in (reading.mask, reading.positions, group.positions[:, :stop]))
        stores = group.memory.split(self.kv_heads, dim=1)
        layers = [
            _GroupLayer(keys, values, group.filled) for keys, values in zip(stores[::2], stores[1::2], strict=True)
        ]
        out = self.model(
            input_ids=reading.tokens.to(device),
            position_ids=reading.positions.to(device),
            attention_mask=layer_masks(self.model.config, sees, queries, keys, self.model.dtype),
            past_key_values=Cache(layers=layers),
            use_cache=True,
        )
        hidden: torch.Tensor = out.last_hidden_state
        return hidden


class _GroupLayer(CacheLayerMixin):
    """One layer's keys and values of a group, as transformers' models write and read them."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, filled: int) -> None:
        super().__init__()
        self.keys, self.values, self.filled = keys, values, filled
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """There is nothing to do."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        stop = self.filled + key_states.shape[2]
        self.keys[:, :, self.filled : stop] = key_states
        self.values[:, :, self.filled : stop] = value_states
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        return self.filled

    def get_max_length(self) -> int:
        return self.keys.shape[2]


def backbone_of(model: PreTrainedModel) -> LeanLlama | StockBackbone:
    """The fastest pass that computes this model."""
    backbone: PreTrainedModel = model.base_model
    return LeanLlama(backbone) if LeanLlama.suits(backbone) else StockBackbone(backbone)
