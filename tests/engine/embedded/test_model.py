"""The embedded model is an ordinary one."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from agentprm_dagster.config import Model
from agentprm_dagster.engine.embedded.model import build_model
from agentprm_dagster.engine.tokenizer import build_tokenizer

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


def test_entities_of_a_kind_and_of_a_number_begin_alike() -> None:
    text = "I see a mug 1, a mug 2, a cup 1, a cup 2, and go on. " * 3
    tokenizer = build_tokenizer([text, "Where is the mug, and the cup?"], frequent=2)
    alike: dict[str, list[float]] = {"kind": [], "number": [], "word": [], "neither": []}
    for seed in range(40):
        rows = build_model(SIZES, tokenizer, seed=seed).get_input_embeddings().weight.detach()
        row = {token: rows[i] for token, i in tokenizer.get_vocab().items()}
        for what, one, other in (
            ("kind", " mug 1", " mug 4"),
            ("number", " mug 2", " cup 2"),
            ("word", " mug", " mug 2"),
            ("neither", " mug 1", " cup 2"),
            ("neither", " the", " mug 1"),
        ):
            alike[what].append(float(torch.cosine_similarity(row[one], row[other], dim=0)))
        assert row[" mug 4"].std() == pytest.approx(rows.std(), rel=0.5)
    mean = {what: sum(found) / len(found) for what, found in alike.items()}
    # Of three parts one is common, or of two and of three.
    expected = {"kind": 1 / 3, "number": 1 / 3, "word": 6**-0.5, "neither": 0.0}
    assert mean == pytest.approx(expected, abs=0.1)
