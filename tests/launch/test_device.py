"""Threads while a model trains."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentprm_dagster.launch.device import training_threads


@pytest.mark.parametrize(("width", "inside"), [(8, 1), (1024, 2)])
def test_a_small_model_trains_on_one_thread(width: int, inside: int) -> None:
    config = LlamaConfig(
        vocab_size=4096, hidden_size=width, intermediate_size=width, num_hidden_layers=1, num_attention_heads=2
    )
    model, before = LlamaForCausalLM(config), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with training_threads(model):
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), training_threads(model):
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
