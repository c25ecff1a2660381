"""How large a model is, read off its config: nothing of its weights is needed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os.path import expanduser
from pathlib import Path
from typing import Any

from agentprm_dagster.engine.settings import Model


class ShapeError(ValueError):
    """A model whose size is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a dense decoder with gated feed-forward layers; biases and the norms of heads are not counted."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    tied: bool
    """Whether the language head is the embedding."""

    @property
    def query(self) -> int:
        """The width of all queries of a token together."""
        return self.heads * self.head_width

    @property
    def kv(self) -> int:
        """The width of all keys of a token together, and that of its values."""
        return self.kv_heads * self.head_width

    @property
    def matrices(self) -> tuple[int, ...]:
        """The weights of each matrix of a layer: queries, keys, values, output; gate, up, down."""
        hidden, wide = self.hidden, self.hidden * self.intermediate
        return (hidden * self.query, hidden * self.kv, hidden * self.kv, hidden * self.query, wide, wide, wide)

    @property
    def layer(self) -> int:
        """The weights of a layer."""
        return sum(self.matrices) + 2 * self.hidden

    @property
    def embedding(self) -> int:
        """The weights of the embedding, and of the language head."""
        return self.vocabulary * self.hidden

    @property
    def backbone(self) -> int:
        """The weights without a head."""
        return self.layers * self.layer + self.embedding + self.hidden

    @property
    def policy(self) -> int:
        """The weights of a policy."""
        return self.backbone + (0 if self.tied else self.embedding)

    @property
    def prm(self) -> int:
        """The weights of a PRM, whose head is one row."""
        return self.backbone + self.hidden

    @property
    def cached(self) -> int:
        """How many numbers a key-value cache holds of a token."""
        return 2 * self.layers * self.kv

    def adapters(self, rank: int) -> int:
        """The weights of LoRA's adapters of a rank at every matrix of every layer."""
        hidden, wide = self.hidden, self.hidden + self.intermediate
        return self.layers * rank * (2 * (hidden + self.query) + 2 * (hidden + self.kv) + 3 * wide)


def _llama(layers: int, hidden: int, intermediate: int, heads: int, head_width: int) -> Shape:
    return Shape(
        layers=layers, hidden=hidden, intermediate=intermediate, heads=heads, kv_heads=8, head_width=head_width,
        vocabulary=128_256, tied=True,
    )  # fmt: skip


def _qwen3(layers: int, hidden: int, intermediate: int, heads: int) -> Shape:
    return Shape(
        layers=layers, hidden=hidden, intermediate=intermediate, heads=heads, kv_heads=8, head_width=128,
        vocabulary=151_936, tied=True,
    )  # fmt: skip


PUBLIC = {
    "meta-llama/Llama-3.2-1B-Instruct": _llama(16, 2048, 8192, 32, 64),
    "meta-llama/Llama-3.2-3B-Instruct": _llama(28, 3072, 8192, 24, 128),
    "Qwen/Qwen3-0.6B": _qwen3(28, 1024, 3072, 16),
    "Qwen/Qwen3-1.7B": _qwen3(28, 2048, 6144, 16),
    "Qwen/Qwen3-4B": _qwen3(36, 2560, 9728, 32),
    "smollm2": Shape(
        layers=30, hidden=576, intermediate=1536, heads=9, kv_heads=3, head_width=64, vocabulary=49_152, tied=True
    ),
}
"""Published models that may not be here, as their config.json on the hub says."""

EMBEDDED_VOCABULARY = 1000
"""About what the tokenizer of the embedded model comes to, which is built for the demonstrations: a token a word."""


def shape_of(model: Model) -> Shape:
    """The size of an experiment's model: the embedded one's settings, a folder's config, the hub's cache, PUBLIC.

    Nothing is fetched.

    Raises:
        ShapeError: it is in none of these, or its config does not say what is asked.
    """
    if model.name == "embedded":
        return Shape(
            layers=model.layers,
            hidden=model.hidden_size,
            intermediate=model.intermediate_size,
            heads=model.heads,
            kv_heads=model.kv_heads,
            head_width=model.hidden_size // model.heads,
            vocabulary=EMBEDDED_VOCABULARY,
            tied=True,
        )
    if config := _config_file(model):
        return shape_of_config(_read(config), str(config))
    if model.name in PUBLIC:
        return PUBLIC[model.name]
    raise ShapeError(
        f"model.name: {model.name} is no folder with a config.json, is not in the hub's cache, and none of "
        f"{', '.join(PUBLIC)}: name a folder that has its config.json, as in --set model.name=FOLDER"
    )


def _config_file(model: Model) -> Path | None:
    folder = Path(expanduser(model.name))  # noqa: PTH111  # never fails
    if folder.is_dir():
        return folder / "config.json"
    if model.name in PUBLIC and "/" not in model.name:
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model.name, "config.json", revision=model.revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ShapeError(f"{path}: expected a model's config in JSON ({error})") from error
    if not isinstance(config, dict):
        raise ShapeError(f"{path}: expected a model's config, got {type(config).__name__}")
    return config


def shape_of_config(config: Mapping[str, Any], where: str) -> Shape:
    """The size that a config.json says, in the words of Llama's and most others'.

    Raises:
        ShapeError: it lacks one of them, or its layers are mixtures of experts.
    """
    if any("experts" in name for name in config):
        raise ShapeError(f"{where}: a mixture of experts, of which other weights are read at each token: not planned")
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    wrong = [name for name in names if not (isinstance(config.get(name), int) and config[name] > 0)]
    if wrong:
        raise ShapeError(f"{where}: expected a whole number above 0 for {', '.join(wrong)}, as a Llama's config has")
    layers, hidden, intermediate, heads, vocabulary = (config[name] for name in names)
    return Shape(
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_width=config.get("head_dim") or hidden // heads,
        vocabulary=vocabulary,
        tied=bool(config.get("tie_word_embeddings", False)),
    )
