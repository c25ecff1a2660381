"""Attention for models whose query heads share key-value heads, under any mask, without copying the cache.

The stock implementation repeats keys and values once per query head as soon as there is a mask; for one key-value
head, a long cache and one new token that copy costs more than all else. Here the query heads of a group stand beside
each other as more queries of the same keys: equal in value, no copy.
"""

from dataclasses import fields

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from agentprm_dagster.engine.architectures import ArchitectureError

GROUPED = "agentprm_grouped"

_BLOCK = 128
"""Queries attended at a time, where that spares something."""

_NOT_FOR_SCORES = {"cache_position", "position_ids", "sliding_window", "use_cache"}
"""What layers pass on that does not change their scores, or is in the mask already."""


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """query (B, heads, T, d), key and value (B, kv_heads, L, d), mask (B, 1, T, L) -> (B, T, heads, d).

    A mask is boolean, or what is added to the scores.

    Raises:
        ArchitectureError: the layer wants its scores changed in a way that is not computed here, such as a soft cap.
    """
    if unknown := [name for name, value in others.items() if value is not None and name not in _NOT_FOR_SCORES]:
        raise ArchitectureError(
            f"{type(module).__name__} attends with {', '.join(unknown)}, which grouped attention does not compute: use "
            "another model"
        )
    batch, heads, length, width = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    if length == key.shape[2]:
        if attention_mask is None:
            mixed = scaled_dot_product_attention(
                query, key, value, None, dropout, is_causal=True, scale=scaling, enable_gqa=group > 1
            )
        else:
            attend = _in_blocks if query.device.type == "cpu" else _with_copies
            mixed = attend(query, key, value, attention_mask, dropout, scaling)
        return mixed.transpose(1, 2).contiguous(), None
    folded = query.reshape(batch, kv_heads, group * length, width)
    if attention_mask is None:
        causal = torch.ones(length, key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - length)
        attention_mask = causal[None, None]
    mask = attention_mask.repeat(1, 1, group, 1) if group > 1 else attention_mask
    mixed = scaled_dot_product_attention(folded, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return mixed.reshape(batch, heads, length, width).transpose(1, 2).contiguous(), None


def _with_copies(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """Attention as `_in_blocks` computes it, by one of a GPU's fused kernels.

    None of those takes a mask where query heads share keys: torch would write down all scores, (B, heads, T, T), and
    keep them for the backward pass. Beside them, a copy of the keys for every query head is small.
    """
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    if mask.is_floating_point():
        mask = mask.to(query.dtype)  # the kernels take no other
    return scaled_dot_product_attention(query, key, value, mask, dropout, scale=scaling)


def _in_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """Attention some queries at a time, each with the keys up to the last one that it may see.

    Shapes are those of `grouped_attention`, with L = T; the result is (B, heads, T, d). A CPU's attention computes what
    the mask forbids as well; of a causal mask or a tree's that is about half.
    """
    length, gqa = key.shape[2], query.shape[1] > key.shape[1]
    sees = mask if mask.dtype == torch.bool else mask > -torch.inf
    reach = (sees.flatten(0, 1).any(0) * torch.arange(1, length + 1)).amax(-1)
    mixed = []
    for first in range(0, query.shape[2], _BLOCK):
        rows, stop = slice(first, first + _BLOCK), max(int(reach[first : first + _BLOCK].max()), 1)
        keys, values, seen = key[:, :, :stop], value[:, :, :stop], mask[:, :, rows, :stop]
        mixed.append(
            scaled_dot_product_attention(query[:, :, rows], keys, values, seen, dropout, scale=scaling, enable_gqa=gqa)
        )
    return torch.cat(mixed, 2)


def use_grouped_attention(model: PreTrainedModel) -> None:
    """Switches a loaded model to this attention where transformers' `sdpa` computes it too; else it keeps its own.

    Soft caps and attention sinks, which `sdpa` does not know, are then computed by the model's own code. The checkpoint
    is not affected.
    """
    if model._supports_sdpa and model._supports_attention_backend:
        model.set_attn_implementation(GROUPED)


def layer_masks(
    config: PreTrainedConfig,
    sees: torch.Tensor,
    queries: torch.Tensor,
    keys: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor | dict[str, torch.Tensor]:
    """What is added to the scores of a model's layers (b, 1, T, L); by type of layer where it has several.

    Args:
        config: the model's, which says how far its layers look back.
        sees: (b, T, L) bool, which keys each query sees where nothing limits it.
        queries: (b, T) distance of each query's token from the start of its conversation.
        keys: (b, L) the same of each key's token.
        dtype: of what is added.
    """

    def added(window: int | None) -> torch.Tensor:
        near = sees if window is None else sees & (queries[:, :, None] - keys[:, None] < window)
        return torch.zeros(near.shape, dtype=dtype, device=near.device).masked_fill_(~near, -torch.inf)[:, None]

    settings = {field.name for field in fields(config)}  # what the architecture reads; a file may hold more
    window = config.sliding_window if "sliding_window" in settings else None
    if "layer_types" not in settings:
        return added(window)
    return {each: added(window if each == "sliding_attention" else None) for each in set(config.layer_types)}


# Here and not there: a model that was sent to another process has been switched already.
AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
