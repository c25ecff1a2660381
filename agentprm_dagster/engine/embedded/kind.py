"""The embedded engine, for small models on a CPU (`engine.base.EngineKind`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentprm_dagster.engine.base import Engine, Role
from agentprm_dagster.engine.settings import EngineSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Settings(EngineSettings):
    """In this process: one cached conversation a slot, and our own pass over Llamas, in float32."""

    kind: Literal["embedded"] = "embedded"


def load(checkpoint: Path, role: Role, settings: Settings) -> "PreTrainedModel":
    """See `engine.base.EngineKind`."""
    from agentprm_dagster.engine import checkpoints  # loads torch

    return checkpoints.load_policy(checkpoint) if role == "policy" else checkpoints.load_prm(checkpoint)


def open(model: "PreTrainedModel", settings: Settings, *, conversations: int) -> Engine:  # noqa: A001  # the protocol's
    """See `engine.base.EngineKind`."""
    from agentprm_dagster.engine.embedded.engine import EmbeddedEngine  # loads torch

    return EmbeddedEngine(model, conversations=conversations)
