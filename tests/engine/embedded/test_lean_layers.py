"""A lean model is the stock model: outputs, gradients, checkpoint."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.embedded import lean_layers
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import LeanLlamaLayer, use_lean_layers
from agentprm_dagster.engine.embedded.token_tree import TokenTree, read_trees

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Relative to the norm of what is compared."""

DTYPES = [pytest.param(dtype, id=str(dtype)) for dtype in TOLERANCE]


def stock(**settings: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 3}
    model = LlamaForCausalLM(LlamaConfig(**{"vocab_size": 50, "num_key_value_heads": 1, **sizes, **settings}))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
    return model


def lean(model: PreTrainedModel) -> PreTrainedModel:
    other = copy.deepcopy(model)
    use_lean_layers(other)
    return other


def assert_close(mine: torch.Tensor, theirs: torch.Tensor, dtype: torch.dtype) -> None:
    assert mine.dtype == theirs.dtype
    assert bool((mine - theirs).norm() <= TOLERANCE[dtype] * theirs.norm())


@pytest.fixture
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    monkeypatch.setattr(lean_layers, "product_dtype", lambda: request.param)
    return request.param


@pytest.mark.parametrize("dtype", DTYPES, indirect=True)
@pytest.mark.parametrize("kv_heads", [1, 3])
def test_outputs_and_gradients_are_the_stock_models(dtype: torch.dtype, kv_heads: int) -> None:
    models = [original := stock(num_key_value_heads=kv_heads), lean(original)]
    assert all(isinstance(layer, LeanLlamaLayer) for layer in models[1].model.layers)
    ids = torch.randint(50, (3, 17))
    theirs, mine = (model(ids, labels=ids) for model in models)
    assert_close(mine.logits, theirs.logits, dtype)
    theirs.loss.backward()
    mine.loss.backward()
    for parameter, other in zip(models[1].parameters(), models[0].parameters(), strict=True):
        assert_close(parameter.grad, other.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES, indirect=True)
def test_trees_are_read_alike(dtype: torch.dtype) -> None:
    models = [original := stock(), lean(original)]
    for model in models:
        use_grouped_attention(model)
    tree = TokenTree()
    prefix = tree.add(range(12))
    tree.add([20, 21], parent=prefix, length=5)
    theirs, mine = (read_trees(model, [tree])[0, : len(tree)] for model in models)
    assert_close(mine, theirs, dtype)


@torch.no_grad()
def test_a_cache_is_filled_by_the_stock_layer() -> None:
    model = lean(original := stock())
    ids = torch.randint(50, (2, 6))
    cache = model(ids[:, :4], use_cache=True).past_key_values
    step = model(ids[:, 4:], past_key_values=cache, use_cache=True).logits
    torch.testing.assert_close(step, original(ids).logits[:, 4:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("unlike", [{"attention_bias": True}, {"mlp_bias": True}, {"hidden_act": "gelu"}])
def test_other_layers_are_left_alone(unlike: dict[str, object]) -> None:
    assert not any(isinstance(layer, LeanLlamaLayer) for layer in lean(stock(**unlike)).model.layers)


def test_its_checkpoint_is_the_stock_models(
    policy_folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = checkpoints.load_policy(policy_folder)
    use_lean_layers(model)
    checkpoints.save(model, tokenizer, tmp_path)
    assert (tmp_path / "config.json").read_text() == (policy_folder / "config.json").read_text()
    loaded, original = (AutoModelForCausalLM.from_pretrained(folder) for folder in (tmp_path, policy_folder))
    for mine, theirs in zip(loaded.parameters(), original.parameters(), strict=True):
        assert torch.equal(mine, theirs)
