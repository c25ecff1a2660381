"""Attention for models whose query heads share key-value heads, under any mask, without copying the cache.

The stock implementation repeats keys and values once per query head as soon as there is a mask; for one key-value
head, a long cache and one new token that copy costs more than all else. Here the query heads of a group stand beside
each other as more queries of the same keys: equal in value, no copy.
"""

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

GROUPED = "agentprm_grouped"


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """query (B, heads, T, d), key and value (B, kv_heads, L, d), mask (B, 1, T, L) -> (B, T, heads, d).

    A mask is boolean, or what is added to the scores.
    """
    batch, heads, length, width = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    if length == key.shape[2]:
        # Without a cache there is little to copy, and one mask serves all heads.
        mixed = scaled_dot_product_attention(
            query, key, value, attention_mask, dropout, attention_mask is None, scale=scaling, enable_gqa=group > 1
        )
        return mixed.transpose(1, 2).contiguous(), None
    folded = query.reshape(batch, kv_heads, group * length, width)
    if attention_mask is None:
        causal = torch.ones(length, key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - length)
        attention_mask = causal[None, None]
    mask = attention_mask.repeat(1, 1, group, 1) if group > 1 else attention_mask
    mixed = scaled_dot_product_attention(folded, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return mixed.reshape(batch, heads, length, width).transpose(1, 2).contiguous(), None


def use_grouped_attention(model: PreTrainedModel) -> None:
    """Switches a loaded model to this attention; its checkpoint is not affected."""
    model.set_attn_implementation(GROUPED)


# Here and not there: a model that was sent to another process has been switched already.
AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
