"""A policy of another kind than the embedded one: random weights, a byte-level BPE tokenizer, a padded vocabulary."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.records import Response

RESERVED = "<|reserved|>"
"""A special token that the tokenizer has no use for."""
PADDED = 300
"""Ids of the model behind the tokenizer's last."""
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] + '\n' + message['content'] }}<|stop|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def bpe_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Frequent words of the texts are one token each, and every byte is one."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|start|>", "<|stop|>", "<|pad|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens([AddedToken(RESERVED, special=True)])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|stop|>", pad_token="<|pad|>")
    wrapped.chat_template = TEMPLATE
    return wrapped


def save_bpe_policy(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """A Llama that says anything, unknown ids too."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    settings = LlamaConfig(
        vocab_size=len(tokenizer) + PADDED, num_key_value_heads=2, max_position_embeddings=8192, **sizes
    )
    model = LlamaForCausalLM(settings)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.15)
    checkpoints.save(model, tokenizer, folder)


def spelled(chat: Chat, text: str) -> Response:
    """An answer drawn letter by letter, as no tokenizer would read it."""
    ids = [token for letter in text for token in chat.tokenizer.encode(letter, add_special_tokens=False)]
    return chat.drawn(ids, cut=False)
