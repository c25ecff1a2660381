"""The embedded model: a small Llama built from a config, for a laptop's CPU; an ordinary checkpoint once saved."""

import re

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agentprm_dagster.engine.settings import Model

_WORD = re.compile(r" ?([a-z]+)(?: (\d+))?")


def build_model(settings: Model, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaForCausalLM:
    """A Llama of the given sizes for the tokenizer's vocabulary, in float32, with random weights.

    Embeddings of entities begin alike where their kinds or their numbers are alike.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=settings.context,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
        dtype="float32",
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    _make_alike(model.get_input_embeddings().weight, tokenizer)
    return model


def _make_alike(embeddings: torch.Tensor, tokenizer: PreTrainedTokenizerFast) -> None:
    """Gives "mug 1", "mug 2" and "mug" a part in common, and all that are numbered 2.

    To a model each is a token of its own: that they are all mugs it would have to learn for each of them, and never
    learns of one that no episode holds. All keep their length on average.

    Args:
        embeddings: (V, H), a row a token; changed in place.
    """
    words = {token: _WORD.fullmatch(token) for token in sorted(tokenizer.get_vocab())}
    numbered = {found[1] for found in words.values() if found and found[2]}
    parts = {token: [found[1], found[2]] for token, found in words.items() if found and found[1] in numbered}
    size = embeddings.shape[1]
    common = {part: _drawn(size, embeddings) for part in dict.fromkeys(p for each in parts.values() for p in each if p)}
    with torch.no_grad():
        for token, each in parts.items():
            row = embeddings[tokenizer.convert_tokens_to_ids(token)]
            shares = [common[part] for part in each if part]
            row.copy_((row + sum(shares)) / (1 + len(shares)) ** 0.5)


def _drawn(size: int, like: torch.Tensor) -> torch.Tensor:
    return torch.randn(size) * like.std()
