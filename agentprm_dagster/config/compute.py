"""Settings of where and how models are trained: what comes out differs by no more than rounding."""

from typing import Annotated, Literal

from pydantic import Field

from agentprm_dagster.section import Positive, Section


class TrainingCompute(Section):
    """How a training computes its steps."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$")] = "auto"
    """`auto` is a GPU where torch sees one that the model gains from, else the CPU."""
    micro_batch_tokens: Positive | None = None
    """Most tokens, padding included, of one forward and backward pass; the gradients of several are added up, so that
    the batch stays what the experiment says. null reads a batch at once."""
    activation_checkpointing: bool = False
    """Whether activations are computed again in the backward pass, and not kept."""
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    """What processes that train together hold: all weights each (`ddp`), or a share of the weights, gradients and
    moments (`fsdp2`)."""
