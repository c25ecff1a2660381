"""A model whose weights, gradients and moments are spread over the processes that train it (torch's FSDP2).

Weights are brought together a layer at a time, where they are read. What is trained is read through `reading`, which
also brings the embeddings and the head together; where a model is to be read in any number of passes, such as while it
draws answers, all of it is brought together for so long (`whole`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

T = TypeVar("T")


class ShardingError(ValueError):
    """A model that cannot be spread."""


def shard_model(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Spreads a model's weights in place, layer by layer; they are read in `dtype` and summed up in float32.

    Raises:
        ShardingError: some of its weights are not trained: an adapter is so small that every process can hold it.
    """
    if not all(parameter.requires_grad for parameter in model.parameters()):
        raise ShardingError("training.strategy: fsdp2 spreads weights that are trained; with model.lora use ddp")
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    layers = set(model._no_split_modules or ())
    for module in list(model.modules()):
        if any(each.__name__ in layers for each in type(module).__mro__):
            _spread(module, policy)
    model.run = MethodType(_run, model)
    _spread(model, policy)
    register_fsdp_forward_method(model, "run")


def _spread(module: torch.nn.Module, policy: MixedPrecisionPolicy) -> None:
    spread = fully_shard(module, mp_policy=policy)
    # Gradients are summed: each term of the loss is divided by its items in the whole batch already.
    spread.set_gradient_divide_factor(1.0)
    spread.set_force_sum_reduction_for_comms(True)


def _run(_: PreTrainedModel, read: Callable[[], Any]) -> Any:
    return read()


def reading(model: PreTrainedModel, read: Callable[[], T]) -> T:
    """What a function answers that reads a model in one pass."""
    if not isinstance(model, FSDPModule):
        return read()
    spread: Any = model
    answer: T = spread.run(read)
    return answer


@contextmanager
def whole(model: PreTrainedModel) -> Iterator[None]:
    """All weights of a model lie in every process meanwhile, and may be read in any number of passes."""
    if not isinstance(model, FSDPModule):
        yield
        return
    spread: Any = model
    parts = [module for module in spread.modules() if isinstance(module, FSDPModule)]
    model.set_reshard_after_forward(False)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        model.set_reshard_after_forward(True)
        for part in parts:
            part.reshard()


def whole_number(number: torch.Tensor) -> float:
    """A number that is spread over processes, such as a norm."""
    return float(number.full_tensor() if isinstance(number, DTensor) else number)


def whole_model(model: PreTrainedModel) -> PreTrainedModel:
    """An ordinary model with all weights, on the CPU; of several processes the first one has it. Others as they are."""
    if not isinstance(model, FSDPModule):
        return model
    how = StateDictOptions(full_state_dict=True, cpu_offload=True)
    spread: Any = model
    weights = get_model_state_dict(spread, options=how)
    if dist.get_rank():
        return model
    _, ordinary = type(model).__bases__  # FSDP2 gives a model a class of its own
    with torch.device("meta"):
        made = ordinary(spread.config)
    made.load_state_dict(weights, assign=True)
    made.tie_weights()
    return made
