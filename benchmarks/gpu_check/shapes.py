"""Models with random weights and the texts that they read: nothing is downloaded."""

import random
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.engine.tokenizer import build_tokenizer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.training.prm_examples import Example
from agentprm_dagster.training.sft import Row

SizeName = Literal["3b", "100m", "tiny"]


@dataclass(frozen=True)
class Size:
    """A shape of model, and how much is asked of it."""

    what: str
    config: dict[str, Any]
    length: int
    """Tokens of an episode."""
    episodes: int
    """Of a step of training."""
    kept: tuple[int, ...]
    """Tokens of a piece where activations are kept."""
    recomputed: tuple[int, ...]
    """The same where they are computed again."""
    steps: int
    """How many are timed."""
    conversations: tuple[int, ...]
    """How many are answered at once."""
    turns: int = 3
    answer: int = 24
    """Most tokens of one."""
    observation: int = 40


SIZES: dict[SizeName, Size] = {
    "3b": Size(
        "Llama-3.2-3B's shape",
        {
            "vocab_size": 128_256,
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "num_hidden_layers": 28,
            "num_attention_heads": 24,
            "num_key_value_heads": 8,
            "head_dim": 128,
        },
        length=1024,
        episodes=16,
        kept=(4096, 8192),
        recomputed=(8192, 16_384),
        steps=2,
        conversations=(16, 64, 192),
    ),
    "100m": Size(
        "SmolLM2-135M's shape",
        {
            "vocab_size": 49_152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "head_dim": 64,
        },
        length=1024,
        episodes=64,
        kept=(16_384, 32_768),
        recomputed=(32_768,),
        steps=4,
        conversations=(64, 256),
    ),
    "tiny": Size(
        "a tiny shape",
        {
            "vocab_size": 512,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
        },
        length=32,
        episodes=2,
        kept=(32,),
        recomputed=(64,),
        steps=1,
        conversations=(2, 4),
        turns=2,
        answer=4,
        observation=8,
    ),
}

VOCABULARY = 500
"""Texts are drawn from the first so many ids, which all models know; the first few are special."""

_SENTENCES = [f"you see a cabinet {i}, a drawer {i} and a mug {i}.\n" for i in range(1, 9)]


def tokenizer() -> PreTrainedTokenizerFast:
    """One as the embedded model has it."""
    return build_tokenizer([*_SENTENCES, "REASON: i look for a mug\nACTION: go to cabinet 1"])


def config_of(size: Size, layers: int | None = None) -> LlamaConfig:
    """The shape, with fewer layers where so many are named."""
    shape = size.config if layers is None else {**size.config, "num_hidden_layers": layers}
    context = size.length + size.turns * (size.answer + size.observation)
    return LlamaConfig(
        **shape,
        max_position_embeddings=max(2048, context),
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        num_labels=1,
    )


def policy(
    config: LlamaConfig, device: torch.device, dtype: torch.dtype = torch.float32, *, seed: int = 0
) -> PreTrainedModel:
    """A language model of that shape, made where it is to lie."""
    return _random(AutoModelForCausalLM, config, device, dtype, seed)


def prm(
    config: LlamaConfig, device: torch.device, dtype: torch.dtype = torch.float32, *, seed: int = 1
) -> PreTrainedModel:
    """A process reward model of that shape."""
    return _random(AutoModelForSequenceClassification, config, device, dtype, seed)


def _random(kind: Any, config: LlamaConfig, device: torch.device, dtype: torch.dtype, seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    with device:
        model: PreTrainedModel = kind.from_config(config, dtype=dtype)
    return model.eval()


def ids(count: int, seed: object) -> list[int]:
    """So many tokens at random."""
    return random.Random(str(seed)).choices(range(10, VOCABULARY), k=count)


def rows(count: int, length: int) -> list[Row]:
    """Episodes of which every fourth stretch of an eighth is learnt."""
    stretch = max(length // 8, 1)
    texts = [ids(length, row) for row in range(count)]
    return [
        Row(text, [each if place // stretch % 4 == 3 else -100 for place, each in enumerate(text)]) for text in texts
    ]


def examples(count: int, length: int, *, branches: int, replies: bool) -> list[Example]:
    """Episodes with eight decisions each; of their length a quarter in branches, where there are some.

    `replies`: whether the PRM reads behind them too.
    """
    made = []
    for each in range(count):
        tree = TokenTree()
        trunk = length - length // 4 if branches else length
        root = tree.add(ids(trunk, each))
        ends = list(range(trunk // 8 - 1, trunk, trunk // 8))[:8]
        for branch in range(branches):
            segment = tree.add(ids(length // 4 // branches, (each, branch)), parent=root, length=ends[branch] + 1)
            ends.append(tree.index(segment, length // 4 // branches - 1))
        targets = [random.Random(f"{each} {end}").random() for end in ends]
        behind = [end - 1 for end in ends] if replies else []
        made.append(Example(tree, ends, behind, targets, list(range(len(ends))), [(0, 1)]))
    return made


def prefixes(count: int, length: int, states: int = 3) -> list[EpisodeTokens]:
    """Episodes that are answered in so many of their states."""
    nobody = Episode("none", "none", "none", "", (), 0.0)
    places = [length * (state + 1) // states for state in range(states)]
    return [
        EpisodeTokens(ids(length + 1, each), [(place, place + 1) for place in places], nobody, list(range(states)))
        for each in range(count)
    ]
