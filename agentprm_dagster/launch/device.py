"""Where a model is trained, in which type of numbers, and with how many threads on a CPU."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from transformers import PreTrainedModel

from agentprm_dagster.config.compute import TrainingCompute
from agentprm_dagster.launch.sharding import shard_model, whole

_SMALL = 5_000_000
"""Parameters below which operations are so short that a second thread costs more than it does."""


def is_small(model: PreTrainedModel) -> bool:
    """Whether a model is on a CPU and gains nothing from a second thread."""
    return model.device.type == "cpu" and sum(parameter.numel() for parameter in model.parameters()) < _SMALL


def place(model: PreTrainedModel, compute: TrainingCompute) -> None:
    """Moves a model to where it is computed.

    One GPU a process: where several are visible and none is named, torch's current one.
    """
    if compute.device != "auto":
        model.to(compute.device)
    elif torch.cuda.is_available() and not is_small(model):
        model.to("cuda")


def place_trained(model: PreTrainedModel, compute: TrainingCompute, dtype: torch.dtype) -> None:
    """The same for a model that is trained, products in `dtype`: whether its activations are kept, and whether every
    process holds all its weights.
    """
    place(model, compute)
    if compute.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if dist.is_initialized() and compute.strategy == "fsdp2":
        shard_model(model, dtype)


def precision(model: PreTrainedModel, dtype: torch.dtype, *, keep: bool = True) -> torch.autocast:
    """A context in which a model's products are computed in `dtype`; its weights and their updates stay as they are.

    float32 is float32 on a GPU too: TF32, which keeps 10 bits of 23, stays off, as torch leaves it. bfloat16, which is
    faster still, is there for who wants speed.

    With `keep` every weight is cast once and lies there in both types until the context is left.
    """
    return torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32, cache_enabled=keep)


@contextmanager
def computing(model: PreTrainedModel, dtype: torch.dtype) -> Iterator[None]:
    """The same for a model that may be spread over processes: it is read in any number of passes."""
    with precision(model, dtype), whole(model):
        yield


@contextmanager
def training_threads(model: PreTrainedModel) -> Iterator[None]:
    """One thread for a small model on a CPU, torch's choice for any other.

    With one, the weights that come out do not depend on how many cores a machine has.
    """
    before = torch.get_num_threads()
    if is_small(model):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def give_memory_back(model: PreTrainedModel) -> None:
    """Returns what a step has freed to the system, for a large model on a CPU.

    The C library keeps it, in pieces that the next step's tensors do not fit into, and a process grows from step to
    step to several times of what it holds.
    """
    if sys.platform == "linux" and model.device.type == "cpu" and not is_small(model):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none
        if trim is not None:
            trim(0)
