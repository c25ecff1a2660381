"""Writing what was trained, by one process or by several together."""

from pathlib import Path

import torch
import torch.distributed as dist
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.launch.ranks import is_first
from agentprm_dagster.launch.sharding import whole_model


def save_trained(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: torch.dtype | None = None
) -> None:
    """See `engine.checkpoints.save`; of several processes the first one writes, and all may read it then."""
    whole = whole_model(model)
    if is_first():
        checkpoints.save(whole, tokenizer, folder, dtype)
    if dist.is_initialized():
        dist.barrier()
