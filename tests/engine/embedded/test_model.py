"""The embedded model is an ordinary one."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from agentprm_dagster.config import Model
from agentprm_dagster.engine.embedded.model import build_model

SIZES = Model(hidden_size=32, layers=3, heads=4, kv_heads=2, intermediate_size=48, context=256)


def test_sizes(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_model(SIZES, tokenizer, seed=0)
    layer = 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48 + 2 * 32
    assert sum(p.numel() for p in model.parameters()) == len(tokenizer) * 32 + 3 * layer + 32
    assert model.config.max_position_embeddings == 256
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (model.config.eos_token_id, model.config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_decides_the_weights(tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    weights = [build_model(SIZES, tokenizer, seed=s).lm_head.weight for s in (0, seed)]
    assert torch.equal(*weights) is (seed == 0)
