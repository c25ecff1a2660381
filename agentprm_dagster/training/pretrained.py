"""The pretrained model of an experiment, to be trained: all its weights, or an adapter beside them (`model.lora`)."""

import torch
from transformers import PreTrainedModel

from agentprm_dagster.engine import adapters, checkpoints
from agentprm_dagster.engine.adapters import Base
from agentprm_dagster.engine.base_model import base_folder, base_identity
from agentprm_dagster.engine.settings import Model


def pretrained_policy(base: Model, *, seed: int) -> PreTrainedModel:
    """A causal language model as it is; `seed` is that of a new adapter."""
    return _adapted(checkpoints.load_policy(base_folder(base), dtype=_dtype(base)), base, seed)


def pretrained_prm(base: Model, *, seed: int) -> PreTrainedModel:
    """Its backbone, and a new head."""
    return _adapted(checkpoints.prm_from_policy(base_folder(base), seed=seed, dtype=_dtype(base)), base, seed)


def _dtype(base: Model) -> torch.dtype:
    """That of weights which stay as they are is the checkpoint's; what is trained is in float32."""
    return getattr(torch, base.dtype) if base.lora else torch.float32


def _adapted(model: PreTrainedModel, base: Model, seed: int) -> PreTrainedModel:
    if base.lora:
        adapters.add(model, base.lora, Base(model=base, digest=base_identity(base)["base_model"]), seed=seed)
    return model
