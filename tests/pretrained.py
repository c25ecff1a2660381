"""Tiny random checkpoints of public architectures, with a small byte-level tokenizer and a chosen chat template."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from agentprm_dagster.envs.alfworld.language import RULES

BODY = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
ASKING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
CHATML = "{% for m in messages %}" + BODY + "{% endfor %}" + ASKING

TEXT = [RULES, "You are in the middle of a room. You see a cabinet 1.", "REASON: I look.\nACTION: go to cabinet 1"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|pad|>", "<|endoftext|>", "<s>"]

MIXED = {"layer_types": ["sliding_attention", "full_attention"]}
WINDOWED: dict[str, Any] = {"sliding_window": 4096}
SWITCHED = WINDOWED | {"use_sliding_window": True, "max_window_layers": 1}
SETTINGS: dict[str, dict[str, Any]] = {
    "cohere2": WINDOWED | MIXED,
    "exaone4": WINDOWED | MIXED,
    "gemma": {"head_dim": 16},
    "gemma2": WINDOWED | {"head_dim": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": WINDOWED | MIXED | {"head_dim": 16, "query_pre_attn_scalar": 16},
    "gpt2": {"n_inner": 128},
    "gpt_oss": WINDOWED | MIXED | {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2},
    "ministral3": WINDOWED,
    "mistral": WINDOWED,
    "mixtral": WINDOWED | {"num_local_experts": 4},
    "olmo3": WINDOWED | MIXED,
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "phi3": WINDOWED,
    "qwen2": SWITCHED,
    "qwen2_moe": SWITCHED | {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    "qwen3": SWITCHED | {"head_dim": 16},
    "qwen3_moe": SWITCHED | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16},
    "smollm3": SWITCHED | MIXED,
    "starcoder2": WINDOWED,
}
"""What an architecture needs beside the sizes that all have."""


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(TEXT * 5, trainer)
    return tokenizer.to_str()


def byte_tokenizer(
    template: str | dict[str, str] | None = CHATML,
    *,
    end: str | None = "<|im_end|>",
    pad: str | None = "<|pad|>",
    begins: bool = False,
) -> PreTrainedTokenizerFast:
    """A tokenizer of 400 tokens; `begins` adds a token at the start of every text that is encoded by itself."""
    tokenizer = Tokenizer.from_str(_trained())
    if begins:
        first = ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[first])
    named = {"eos_token": end, "pad_token": pad, "bos_token": "<s>" if begins else None}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{name: token for name, token in named.items() if token}
    )
    wrapped.chat_template = template
    return wrapped


def random_model(model_type: str, **settings: Any) -> PreTrainedModel:
    """Two layers of a causal language model for this tokenizer, of weights so large that what is left out shows."""
    common = {
        "vocab_size": 400,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    config = AutoConfig.for_model(model_type, **common | SETTINGS.get(model_type, {}) | settings)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 or "sinks" in name:
                weight.normal_(0, 0.3 if "embed" in name or "wte" in name else 0.15)
    return model.eval()


def checkpoint(
    folder: Path, model_type: str = "llama", tokenizer: PreTrainedTokenizerFast | None = None, **settings: Any
) -> Path:
    """Such a model and a tokenizer, saved in a new folder."""
    path = folder / model_type
    random_model(model_type, **settings).save_pretrained(path)
    (tokenizer or byte_tokenizer()).save_pretrained(path)
    return path
