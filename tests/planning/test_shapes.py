"""How large models are, as their configs say."""

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, Qwen3Config, Qwen3ForCausalLM

from agentprm_dagster.engine.settings import Model
from agentprm_dagster.planning.shapes import PUBLIC, ShapeError, shape_of, shape_of_config


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_those_of_the_model(tied: bool) -> None:
    config = LlamaConfig(
        vocab_size=700, hidden_size=96, intermediate_size=160, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=tied, num_labels=1,
    )  # fmt: skip
    shape = shape_of_config(config.to_dict(), "here")
    with torch.device("meta"):
        policy, prm = LlamaForCausalLM(config), LlamaForSequenceClassification(config)
    assert shape.policy == sum(parameter.numel() for parameter in policy.parameters())
    assert shape.prm == sum(parameter.numel() for parameter in prm.parameters())
    linear = [module for module in policy.model.modules() if isinstance(module, torch.nn.Linear)]
    assert shape.adapters(4) == sum(4 * (module.in_features + module.out_features) for module in linear)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", 1.236),
        ("meta-llama/Llama-3.2-3B-Instruct", 3.213),
        ("Qwen/Qwen3-0.6B", 0.596),
        ("Qwen/Qwen3-1.7B", 1.721),
        ("Qwen/Qwen3-4B", 4.022),
        ("smollm2", 0.1345),
    ],
)
def test_published_models_have_the_weights_that_are_published(name: str, billions: float) -> None:
    assert PUBLIC[name].policy == pytest.approx(billions * 1e9, rel=2e-3)


def test_a_norm_of_heads_is_all_that_is_not_counted() -> None:
    shape = PUBLIC["Qwen/Qwen3-0.6B"]
    config = Qwen3Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width, tie_word_embeddings=shape.tied,
    )  # fmt: skip
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in Qwen3ForCausalLM(config).parameters())
    assert weights - shape.policy == 2 * shape.head_width * shape.layers


def test_a_folder_is_read_before_the_table(tmp_path: Path) -> None:
    config = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 300}), encoding="utf-8")
    shape = shape_of(Model(name=str(tmp_path)))
    assert (shape.layers, shape.kv_heads, shape.head_width, shape.tied) == (2, 4, 16, False)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "expected a model's config in JSON"),
        ("[]", "expected a model's config, got list"),
        ('{"hidden_size": 64}', "expected a whole number above 0 for num_hidden_layers, intermediate_size"),
        ('{"num_experts": 8}', "a mixture of experts"),
    ],
)
def test_a_config_that_does_not_say_it_is_refused(tmp_path: Path, config: str | None, words: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ShapeError, match=words):
        shape_of(Model(name=str(tmp_path)))


def test_an_unknown_model_is_asked_for() -> None:
    with pytest.raises(ShapeError, match="as in --set model"):
        shape_of(Model(name="nobody/nothing-7b"))
