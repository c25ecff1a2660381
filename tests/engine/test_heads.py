"""A head apart from its backbone gives the logits that the whole model gives."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from agentprm_dagster.engine.heads import language_head
from pretrained import random_model

HEADS = [
    pytest.param("llama", {}, id="a product"),
    pytest.param("phi", {}, id="a bias"),
    pytest.param("cohere", {"logit_scale": 0.3}, id="a scale"),
    pytest.param("granite", {"logits_scaling": 7.0}, id="a divisor"),
    pytest.param("gemma2", {"final_logit_softcapping": 2.0}, id="a soft cap"),
    pytest.param("mixtral", {"output_router_logits": True}, id="a router beside it"),
    pytest.param("gpt2", {}, id="another name"),
]


def apart(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    return language_head(model)(model.base_model(ids).last_hidden_state)


@pytest.mark.parametrize(("model_type", "settings"), HEADS)
def test_the_logits_are_those_of_the_whole(model_type: str, settings: dict[str, object]) -> None:
    model, ids = random_model(model_type, **settings), torch.randint(300, (2, 7))
    with torch.no_grad():
        torch.testing.assert_close(apart(model, ids), model(ids).logits, atol=1e-5, rtol=1e-5)
        hidden = torch.randn(5, model.config.hidden_size)
        rows = torch.cat([language_head(model)(row) for row in hidden[:, None]])
        torch.testing.assert_close(language_head(model)(hidden), rows, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", ["llama", "gemma2"])
def test_training_shows_at_once_and_gradients_are_those_of_the_whole(model_type: str) -> None:
    model, ids = random_model(model_type, tie_word_embeddings=False), torch.randint(300, (1, 7))
    head = language_head(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
        hidden = model.base_model(ids).last_hidden_state
        torch.testing.assert_close(head(hidden), model(ids).logits, atol=1e-5, rtol=1e-5)
    gradients = []
    for logits in (apart(model, ids), model(ids).logits):
        model.zero_grad()
        logits.square().mean().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_the_model_itself_is_left_as_it_was() -> None:
    model = random_model("gemma2")
    names = list(model.state_dict())
    language_head(model)
    assert list(model.state_dict()) == names
    plain = LlamaForCausalLM(LlamaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=4))
    assert language_head(plain) is plain.lm_head
