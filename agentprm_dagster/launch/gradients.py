"""Where the gradients of a batch are computed: in this process and its shards, or by all that train together."""

from typing import Any

import torch.distributed as dist
from transformers import PreTrainedModel

from agentprm_dagster.launch.pieces import Build
from agentprm_dagster.launch.ranks import Ranks
from agentprm_dagster.launch.shards import Shards


def gradients(model: PreTrainedModel, build: Build, *arguments: Any, **how: Any) -> Shards | Ranks:
    """A context manager whose `backward` leaves a batch's gradients in the parameters; see `launch.shards.Shards`."""
    return (Ranks if dist.is_initialized() else Shards)(model, build, *arguments, **how)
