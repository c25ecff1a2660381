"""Which architectures are computed here exactly, and up to which length (docs/models.md).

Sampling, token trees and losses run a model's backbone under caches, positions and masks of their own, and its head
apart from it. That gives what transformers' own forward gives where a layer is attention to all tokens before or to
a window of them, and nothing else passes from token to token.
"""

from typing import Any

from transformers import PreTrainedConfig

WITH_PRM = {
    "arcee", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss",
    "llama", "ministral3", "mistral", "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "phi", "phi3", "qwen2",
    "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2",
}  # fmt: skip
"""Model types that were compared with transformers' own forward, as policy and as PRM."""

WITHOUT_PRM = {"apertus", "cohere", "cohere2", "ernie4_5", "granite", "olmoe"}
"""Model types that were compared as policies; transformers has no sequence-classification model of them."""

_LAYERS = {"full_attention", "sliding_attention"}


class ArchitectureError(ValueError):
    """A model that would be computed here as something else than it is."""


def require_type(model_type: object, where: object) -> None:
    """Raises ArchitectureError where models of this type (`config.json`) are not computed exactly."""
    if model_type not in WITH_PRM | WITHOUT_PRM:
        raise ArchitectureError(
            f"{where} is a model of type {model_type!r}, whose log-probabilities are not computed here as transformers "
            f"computes them (code that comes with a checkpoint is never run); expected one of "
            f"{', '.join(sorted(WITH_PRM))} (docs/models.md)"
        )


def require_exact(config: PreTrainedConfig) -> None:
    """Raises ArchitectureError where a model of a known type is set to something that is not computed exactly."""
    if others := set(getattr(config, "layer_types", None) or ()) - _LAYERS:
        raise ArchitectureError(
            f"{config.name_or_path} has layers of type {', '.join(sorted(others))}; computed exactly are "
            f"{' and '.join(sorted(_LAYERS))}: use another model"
        )
    if getattr(config, "use_bidirectional_attention", None):
        raise ArchitectureError(
            f"{config.name_or_path} lets tokens see those behind them (use_bidirectional_attention); expected a causal "
            "language model"
        )


def context_of(config: PreTrainedConfig) -> int:
    """The longest conversation of a model in tokens: its context, or less where more is not computed exactly."""
    context: int = config.max_position_embeddings
    return min(context, _exact_length(config) or context)


def require_length(config: PreTrainedConfig, tokens: int) -> None:
    """Raises ArchitectureError where a conversation of so many tokens is not computed exactly."""
    longest = _exact_length(config)
    if longest is not None and tokens > longest:
        raise ArchitectureError(
            f"a conversation of {tokens} tokens, padding included, is longer than the {longest} that "
            f"{config.name_or_path} reads alike whatever follows: use shorter episodes (max_steps) or another model"
        )


def require_relative_positions(config: PreTrainedConfig) -> None:
    """Raises ArchitectureError where padding before a conversation changes what is computed."""
    if not _ropes(config):
        raise ArchitectureError(
            f"{config.name_or_path} has learnt positions, which TRL's padding shifts: set improvement.kind: dpo"
        )


def _exact_length(config: PreTrainedConfig) -> int | None:
    """Tokens up to which a position means the same however long the conversation grows; None: any number."""
    ropes = _ropes(config)
    if not ropes:
        return config.max_position_embeddings  # one learnt vector a position
    # These turn every token by other angles as soon as the conversation is longer than so.
    changing = [rope for rope in ropes if rope.get("rope_type") in ("dynamic", "longrope")]
    longest = (rope.get("original_max_position_embeddings") or config.max_position_embeddings for rope in changing)
    return min(longest, default=None)


def _ropes(config: PreTrainedConfig) -> list[dict[str, Any]]:
    """The settings of a model's rotary positions; several where types of layers have their own."""
    rope = getattr(config, "rope_parameters", None) or {}
    by_layer = [each for each in rope.values() if isinstance(each, dict)]
    return by_layer or ([rope] if rope else [])
