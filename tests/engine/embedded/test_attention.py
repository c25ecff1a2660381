"""Grouped attention is attention."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from agentprm_dagster.engine.embedded import attention
from agentprm_dagster.engine.embedded.attention import grouped_attention, use_grouped_attention

HEADS = [pytest.param(4, id="MHA"), pytest.param(2, id="GQA"), pytest.param(1, id="MQA")]


def by_hand(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Every query head with its own copy of its group's keys and values."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
    scores = (query @ key.transpose(2, 3) * scaling).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


@settings(max_examples=40)
@given(
    heads=st.sampled_from([(4, 4), (4, 2), (4, 1), (6, 2)]),
    batch=st.integers(1, 3),
    length=st.integers(1, 5),
    past=st.integers(0, 5),
    masked=st.booleans(),
    block=st.sampled_from([1, 2, 128]),
    seed=st.integers(0, 100),
)
def test_it_is_attention_with_copied_heads(
    heads: tuple[int, int], batch: int, length: int, past: int, masked: bool, block: int, seed: int
) -> None:
    torch.manual_seed(seed)
    query = torch.randn(batch, heads[0], length, 8)
    key, value = torch.randn(2, batch, heads[1], past + length, 8)
    causal = torch.ones(length, past + length, dtype=torch.bool).tril(past)
    mask = (torch.rand(batch, 1, length, past + length) < 0.7) | torch.eye(
        length, past + length, dtype=torch.bool
    ).roll(past, dims=1)
    with patch.object(attention, "_BLOCK", block):
        mixed, _ = grouped_attention(torch.nn.Module(), query, key, value, mask if masked else None, scaling=0.3)
    expected = by_hand(query, key, value, mask if masked else causal[None, None], 0.3)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kv_heads", HEADS)
@pytest.mark.parametrize("added", [False, True], ids=["boolean", "added"])
def test_off_the_cpu_keys_are_copied(kv_heads: int, added: bool) -> None:
    query, key, value = torch.randn(2, 4, 5, 8), *torch.randn(2, 2, kv_heads, 5, 8)
    sees = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril()
    sees[1, :, 3, 1:3] = False
    mask = torch.zeros(sees.shape, dtype=torch.float64).masked_fill(~sees, -torch.inf) if added else sees
    mixed = attention._with_copies(query, key, value, mask, 0.0, 0.3).transpose(1, 2)
    torch.testing.assert_close(mixed, by_hand(query, key, value, sees, 0.3), atol=1e-5, rtol=1e-5)


def model(kv_heads: int, attention: str) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("kv_heads", HEADS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_a_model_with_it_is_the_same_model(kv_heads: int, attention: str) -> None:
    stock, grouped = model(kv_heads, attention), model(kv_heads, attention)
    use_grouped_attention(grouped)
    ids = torch.randint(50, (3, 12))
    padding = torch.ones(3, 12, dtype=torch.long)
    padding[1, 7:] = 0
    tree = torch.rand(3, 1, 12, 12).tril() > 0.4
    tree |= torch.eye(12, dtype=torch.bool)
    torch.testing.assert_close(grouped(ids).logits, stock(ids).logits, atol=1e-5, rtol=1e-4)
    padded = [m(ids, attention_mask=padding).logits[padding.bool()] for m in (grouped, stock)]
    torch.testing.assert_close(*padded, atol=1e-5, rtol=1e-4)
    # Eager attention takes what is added to the scores for a mask of one's own.
    added = torch.zeros(tree.shape).masked_fill(~tree, torch.finfo(torch.float32).min)
    by_tree = [grouped(ids, attention_mask=tree).logits, stock(ids, attention_mask=added).logits]
    torch.testing.assert_close(*by_tree, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kv_heads", HEADS)
def test_gradients_are_the_same(kv_heads: int) -> None:
    stock, grouped = model(kv_heads, "sdpa"), model(kv_heads, "sdpa")
    use_grouped_attention(grouped)
    ids = torch.randint(50, (2, 9))
    for each in (stock, grouped):
        each(ids, labels=ids).loss.backward()
    for mine, theirs in zip(grouped.parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_step_by_step_with_transformers_own_cache() -> None:
    grouped = model(1, "sdpa")
    use_grouped_attention(grouped)
    ids = torch.randint(50, (2, 6))
    whole = grouped(ids).logits
    cache = grouped(ids[:, :3], use_cache=True).past_key_values
    for t in range(3, 6):
        step = grouped(ids[:, t : t + 1], past_key_values=cache, use_cache=True).logits
        torch.testing.assert_close(step[:, 0], whole[:, t], atol=1e-5, rtol=1e-4)
