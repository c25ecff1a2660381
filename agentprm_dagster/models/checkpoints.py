"""Loading checkpoints as anyone would: safetensors only, no remote code, float32 unless told otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

_HEAD = "score.weight"


class CheckpointError(ValueError):
    """A checkpoint that is missing, not in safetensors, or made for something else."""


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that lies with a checkpoint."""
    _check(path)
    return AutoTokenizer.from_pretrained(path)


def load_policy(path: Path) -> PreTrainedModel:
    """A causal language model."""
    model, missing = _load(AutoModelForCausalLM, path)
    if missing:
        raise CheckpointError(f"{path} is not a policy: it lacks {missing}; expected a causal language model")
    return model


def load_prm(path: Path) -> PreTrainedModel:
    """A sequence-classification model with one label; its head must be in the checkpoint."""
    model, missing = _load(AutoModelForSequenceClassification, path, num_labels=1)
    if missing:
        raise CheckpointError(
            f"{path} is not a process reward model: it lacks {missing}; expected a sequence-classification checkpoint "
            "with one label"
        )
    return model


def prm_from_policy(path: Path, *, seed: int) -> PreTrainedModel:
    """A PRM whose trunk is a policy's and whose head is new, small enough that it starts near logit 0."""
    model, missing = _load(
        AutoModelForSequenceClassification, path, num_labels=1, problem_type="multi_label_classification"
    )
    if trunk := [name for name in missing if name != _HEAD]:
        raise CheckpointError(f"{path} is not a policy: it lacks {trunk}; expected a causal language model")
    torch.manual_seed(seed)
    # Standard deviation 1 / sqrt(d + 1), as in the authors' code.
    torch.nn.init.normal_(model.score.weight, std=(model.config.hidden_size + 1) ** -0.5)
    return model


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes safetensors, config, tokenizer and chat template."""
    # The attention used here is a matter of speed, not of the model: others load it with theirs.
    model.set_attn_implementation("sdpa")
    with _quietly():
        model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _load(kind: Any, path: Path, **settings: Any) -> tuple[PreTrainedModel, list[str]]:
    """The model, and which of its weights are not in the checkpoint."""
    _check(path)
    with _quietly():
        model, info = kind.from_pretrained(
            path, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **settings
        )
    return model, sorted(info["missing_keys"])


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' progress bars and its report of missing weights, which are judged here.

    Downloads from the hub keep their bars.
    """
    hook = logging.set_tqdm_hook(lambda make, args, kwargs: make(*args, **{**kwargs, "disable": True}))
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.set_tqdm_hook(hook)


def _check(path: Path) -> None:
    if not any(path.glob("*.safetensors")):
        raise CheckpointError(f"{path} holds no *.safetensors: expected a Hugging Face checkpoint folder")
