"""The lean pass gives what transformers gives, for every group of conversations in it."""

from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config

from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.backbones import LeanLlama, StockBackbone, backbone_of
from agentprm_dagster.engine.embedded.slots import SlotModel

LENGTHS = [1, 3, 70, 9, 64, 2, 8, 5, 6, 7, 4, 30, 3, 3, 3, 3, 3, 3, 3, 3]
"""More conversations than a group takes."""

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def llama(**settings: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, "num_key_value_heads": 2, **settings})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "bias" in name:
                weight.uniform_(0.5, 1.5)
    return model


def other() -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(Qwen2Config(**SIZES, num_key_value_heads=2)).eval()
    use_grouped_attention(model)
    return model


MODELS = [
    pytest.param(llama, {}, LeanLlama, id="grouped heads"),
    pytest.param(llama, {"num_key_value_heads": 1}, LeanLlama, id="one key-value head"),
    pytest.param(llama, {"num_key_value_heads": 4, "head_dim": 16}, LeanLlama, id="wide heads"),
    pytest.param(llama, {"attention_bias": True, "mlp_bias": True}, LeanLlama, id="biases"),
    pytest.param(llama, {"hidden_act": "gelu"}, StockBackbone, id="another activation"),
    pytest.param(other, {}, StockBackbone, id="another architecture"),
]


@pytest.mark.parametrize(("build", "settings", "kind"), MODELS)
@torch.no_grad()
def test_hidden_states_are_those_of_transformers(
    build: Callable[..., PreTrainedModel], settings: dict[str, object], kind: type
) -> None:
    model = build(**settings)
    cache = SlotModel(model, slots=len(LENGTHS), capacity=256)
    assert type(cache.backbone) is kind
    told: list[list[int]] = [[] for _ in LENGTHS]
    for _ in range(3):
        new = [torch.randint(50, (length,)).tolist() for length in LENGTHS]
        hidden = cache.feed(range(len(LENGTHS)), new)
        for slot, ids in enumerate(new):
            told[slot] += ids
            expected = model.base_model(torch.tensor([told[slot]])).last_hidden_state[0, -1]
            torch.testing.assert_close(hidden[slot], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_weights_are_read_where_they_are() -> None:
    model = llama()
    cache = SlotModel(model, slots=1, capacity=64)
    cache.feed([0], [[7, 8]])
    for weight in model.parameters():
        weight.mul_(1.1)
    cache.clear(0)
    hidden = cache.feed([0], [[9, 10]])
    expected = model.base_model(torch.tensor([[9, 10]])).last_hidden_state[0, -1]
    torch.testing.assert_close(hidden[0], expected, atol=1e-5, rtol=1e-5)


def test_a_rotation_that_depends_on_the_length_read_is_left_to_transformers() -> None:
    scaled = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert type(backbone_of(llama(rope_parameters=scaled))) is StockBackbone
