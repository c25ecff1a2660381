"""Any model exactly as transformers computes it, on any device: slower, and what others are held against.

A model is computed in the type of numbers that its checkpoint was saved in.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from agentprm_dagster.engine.base import Engine, Role
from agentprm_dagster.engine.settings import EngineSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Settings(EngineSettings):
    """Transformers' own generation and forward passes; every conversation is read from its start at every turn."""

    kind: Literal["transformers"] = "transformers"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$")] = "auto"
    """`auto` is a GPU where torch sees one, else the CPU."""
    batch: Annotated[int, Field(gt=0, le=4096)] = 16
    """Conversations read together. Those of architectures that read padding are read one by one."""


def load(checkpoint: Path, role: Role, settings: Settings) -> "PreTrainedModel":
    """See `engine.base.EngineKind`."""
    import torch

    from agentprm_dagster.engine import checkpoints
    from agentprm_dagster.engine.checkpoint_files import dtype_of

    load = checkpoints.load_policy if role == "policy" else checkpoints.load_prm
    model = load(checkpoint, exact=False, dtype=getattr(torch, dtype_of(checkpoint)))
    return model.to(_device(settings))


def versions(settings: Settings) -> dict[str, str]:
    """See `engine.base.EngineKind`: the GPU, where it computes on one."""
    import torch

    device = _device(settings)
    return {"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}


def _device(settings: Settings) -> str:
    import torch

    gpu = "cuda" if torch.cuda.is_available() else "cpu"
    return gpu if settings.device == "auto" else settings.device


def open(model: "PreTrainedModel", settings: Settings, *, conversations: int) -> Engine:  # noqa: A001  # the protocol's
    """See `engine.base.EngineKind`."""
    from agentprm_dagster.engine.transformers.engine import TransformersEngine  # loads torch

    return TransformersEngine(model, batch=settings.batch)
