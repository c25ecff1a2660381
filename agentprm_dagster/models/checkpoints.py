"""Loading checkpoints as anyone would: safetensors only, no remote code, float32 unless told otherwise."""

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)


class CheckpointError(ValueError):
    """A checkpoint that is missing, not in safetensors, or made for something else."""


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """The tokenizer that lies with a checkpoint."""
    _check(path)
    return AutoTokenizer.from_pretrained(path)


def load_base(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and its tokenizer by hub name or local path."""
    path = Path(name) if Path(name).exists() else name
    return load_policy(path), load_tokenizer(path)


def load_policy(path: Path | str) -> PreTrainedModel:
    """A causal language model."""
    _check(path)
    return AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, dtype=torch.float32)


def load_prm(path: Path | str) -> PreTrainedModel:
    """A sequence-classification model with one label; its head must be in the checkpoint."""
    _check(path)
    model, info = AutoModelForSequenceClassification.from_pretrained(
        path, use_safetensors=True, dtype=torch.float32, num_labels=1, output_loading_info=True
    )
    if info["missing_keys"]:
        raise CheckpointError(
            f"{path} is not a process reward model: it lacks {sorted(info['missing_keys'])}; expected a "
            "sequence-classification checkpoint with one label"
        )
    return model


def prm_from_policy(path: Path | str, *, seed: int) -> PreTrainedModel:
    """A PRM whose trunk is a policy's and whose head is new, small enough that it starts near logit 0."""
    _check(path)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        path, use_safetensors=True, dtype=torch.float32, num_labels=1, problem_type="multi_label_classification"
    )
    # Standard deviation 1 / sqrt(d + 1), as in the authors' code.
    torch.nn.init.normal_(model.score.weight, std=(model.config.hidden_size + 1) ** -0.5)
    return model


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes safetensors, config, tokenizer and chat template."""
    # The attention used here is a matter of speed, not of the model: others load it with theirs.
    model.set_attn_implementation("sdpa")
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _check(path: Path | str) -> None:
    if isinstance(path, Path) and not any(path.glob("*.safetensors")):
        raise CheckpointError(f"{path} holds no *.safetensors: expected a Hugging Face checkpoint folder")
