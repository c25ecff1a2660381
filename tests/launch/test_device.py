"""Threads while a model trains, and the memory of its steps."""

import subprocess
import sys

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


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, and what glibc keeps")
def test_what_a_step_has_freed_is_given_back() -> None:
    program = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from agentprm_dagster.launch.device import give_memory_back
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
large = LlamaForCausalLM(LlamaConfig(vocab_size=20_000, hidden_size=256, num_hidden_layers=1, intermediate_size=256,
    num_attention_heads=2))
pieces = [torch.ones(16_000) for _ in range(5_000)]  # 64 kB each: too small for a mapping of its own
last = torch.ones(16_000)  # lies behind them, so that the heap cannot shrink from its end
full = resident()
del pieces
kept = resident()
give_memory_back(large)
print(full, kept, resident())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    full, kept, left = map(int, done.stdout.split())
    assert full - kept < 100e6, "the C library keeps most of it"
    assert kept - left > 200e6
