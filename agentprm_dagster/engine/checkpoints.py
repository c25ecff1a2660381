"""Loading checkpoints: safetensors only, no remote code, in float32; what is not computed here exactly is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from agentprm_dagster.engine.adapters import base_of, has_adapter, merge, put
from agentprm_dagster.engine.adapters import save as save_adapter
from agentprm_dagster.engine.architectures import WITH_PRM, ArchitectureError, require_exact, require_type
from agentprm_dagster.engine.checkpoint_files import (
    CheckpointError,
    dtype_of,
    is_adapter,
    require_plain_model,
    require_plain_tokenizer,
    weight_files,
)
from agentprm_dagster.engine.embedded.attention import GROUPED

_HEAD = "score.weight"


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that lies with a checkpoint."""
    if not is_adapter(path):
        _check(path)
    require_plain_tokenizer(path)
    with _refusals(path):
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)


def load_policy(path: Path, *, exact: bool = True, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A causal language model, an adapter merged; with `exact` only of the architectures that are computed here as by
    transformers.
    """
    return _merged(_policy(path, exact=exact, dtype=dtype))


def load_prm(path: Path, *, exact: bool = True, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A sequence-classification model with one label, whose head must be in the checkpoint; otherwise as a policy."""
    return _merged(_prm(path, exact=exact, dtype=dtype))


def policy_to_train(path: Path) -> PreTrainedModel:
    """A policy whose weights are trained on: all of them, in float32, or its adapter's."""
    return _policy(path, dtype=stored_dtype(path) if is_adapter(path) else torch.float32)


def prm_to_train(path: Path) -> PreTrainedModel:
    """A PRM whose weights are trained on."""
    return _prm(path, dtype=stored_dtype(path) if is_adapter(path) else torch.float32)


def prm_from_policy(path: Path, *, seed: int, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """A PRM to be trained whose backbone is a policy's and whose head is new, small enough to start near Q = 0.5.

    `dtype` is that of the weights of a policy that is no adapter; None is float32.
    """
    if is_adapter(path):
        model = prm_from_policy(base_of(path).folder(), seed=seed, dtype=stored_dtype(path))
        put(model, path, new_head=True)
        return model
    model, info = _load(
        AutoModelForSequenceClassification,
        path,
        dtype=dtype or torch.float32,
        num_labels=1,
        problem_type="multi_label_classification",
    )
    if backbone := [name for name in info["missing_keys"] if name != _HEAD]:
        raise CheckpointError(f"{path} is not a policy: it lacks {backbone}; expected a causal language model")
    torch.manual_seed(seed)
    # The authors' code takes ten times as much. What stands at an answer's end is much the same everywhere, and large
    # in a pretrained model: SmolLM2's first values would be 0.9 everywhere, which few steps at a low rate do not mend.
    torch.nn.init.normal_(model.score.weight, std=0.1 * (model.config.hidden_size + 1) ** -0.5)
    return model


def _policy(path: Path, *, exact: bool = True, dtype: torch.dtype) -> PreTrainedModel:
    if is_adapter(path):
        model = _policy(base_of(path).folder(), exact=exact, dtype=dtype)
        put(model, path)
        return model
    model, info = _load(AutoModelForCausalLM, path, exact=exact, dtype=dtype)
    if missing := info["missing_keys"]:
        raise CheckpointError(f"{path} is not a policy: it lacks {missing}; expected a causal language model")
    if _HEAD in info["unexpected_keys"]:
        raise CheckpointError(f"{path} is not a policy but a process reward model: it has a {_HEAD}")
    return model


def _prm(path: Path, *, exact: bool = True, dtype: torch.dtype) -> PreTrainedModel:
    if is_adapter(path):
        model, _ = _load(
            AutoModelForSequenceClassification, base_of(path).folder(), exact=exact, dtype=dtype, num_labels=1
        )
        put(model, path)
        return model
    model, info = _load(AutoModelForSequenceClassification, path, exact=exact, dtype=dtype, num_labels=1)
    if missing := info["missing_keys"]:
        raise CheckpointError(
            f"{path} is not a process reward model: it lacks {missing}; expected a sequence-classification checkpoint "
            "with one label"
        )
    return model


def _merged(model: PreTrainedModel) -> PreTrainedModel:
    merge(model)
    return model


def stored_dtype(path: Path) -> torch.dtype:
    """In which type a checkpoint's weights are stored (`checkpoint_files.dtype_of`)."""
    dtype: torch.dtype = getattr(torch, dtype_of(path))
    return dtype


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes safetensors, in `dtype` or as they are, config, tokenizer and template; of an adapter nothing of its base.

    The model's weights are then of this type.
    """
    if has_adapter(model):
        save_adapter(model, tokenizer, folder)
        return
    if dtype:
        model.to(dtype)
    # The attention used here is a matter of speed, not of the model: others load it with theirs.
    if model.config._attn_implementation == GROUPED:
        model.set_attn_implementation("sdpa")
    with _quietly():
        model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def save_merged(path: Path, folder: Path, *, prm: bool) -> None:
    """Writes what an adapter makes of its base model as an ordinary checkpoint."""
    dtype = stored_dtype(path)
    model = (load_prm if prm else load_policy)(path, exact=False, dtype=dtype)
    save(model, load_tokenizer(path), folder, dtype)


def _load(
    kind: Any, path: Path, *, exact: bool = True, dtype: torch.dtype = torch.float32, **settings: Any
) -> tuple[PreTrainedModel, dict[str, list[str]]]:
    """The model, and which of its weights are not in the checkpoint and the other way round, sorted."""
    model_type = _check(path)
    if exact:
        require_type(model_type, path)
    if exact and kind is AutoModelForSequenceClassification and model_type not in WITH_PRM:
        raise ArchitectureError(
            f"{path} is of type {model_type!r}, of which transformers has no sequence-classification model for the "
            f"PRM: use a model of type {', '.join(sorted(WITH_PRM))} (docs/models.md)"
        )
    with _quietly(), _refusals(path):
        model, info = kind.from_pretrained(
            path,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=dtype,
            output_loading_info=True,
            return_dict=True,
            **settings,
        )
    if exact:
        require_exact(model.config)
    _without_noise(model)
    return model, {name: sorted(info[name]) for name in ("missing_keys", "unexpected_keys")}


def _check(path: Path) -> str:
    """The type of the model in a folder, of which nothing is read that is not plain weights and settings."""
    weights = weight_files(path)
    model_type = require_plain_model(path)
    for file in weights:
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file}: expected a whole safetensors file ({error}): fetch it again, it may have been cut"
            ) from error
    return model_type


def _without_noise(model: PreTrainedModel) -> None:
    """No dropout and no jitter in training either: what is trained, and compared, is the policy that acts."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and ("drop" in name or "jitter" in name):
                setattr(module, name, 0.0)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """What transformers cannot load is an error of the checkpoint."""
    try:
        yield
    except Exception as error:  # a foreign folder can make it fail in any way, and all of them are refusals
        raise CheckpointError(
            f"{path} cannot be loaded with transformers' own code, and no other is run: {type(error).__name__}: {error}"
        ) from error


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
