"""Adapters with random weights."""

from pathlib import Path

import torch

from agentprm_dagster.config import Model
from agentprm_dagster.engine import adapters, checkpoints
from agentprm_dagster.engine.adapters import Base
from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.engine.settings import Lora


def adapter_of(policy: Path, folder: Path, *, rank: int, seed: int) -> Path:
    """A policy beside another one, in `folder`; both of its matrices are drawn."""
    folder.mkdir()
    model, base = checkpoints.load_policy(policy), Model(name=str(policy))
    adapters.add(model, Lora(rank=rank), Base(model=base, digest=base_identity(base)["base_model"]), seed=seed)
    drawn = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.1, generator=drawn)
    adapters.save(model, checkpoints.load_tokenizer(policy), folder)
    return folder
