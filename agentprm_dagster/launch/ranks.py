"""Gradients computed by several processes that all run the same training (torch.distributed), one part of a batch each.

Every process has the same batches, and reads its own part. The gradients are summed, each term of the loss divided by
its items in the whole batch: so many processes give what one gives, but for rounding.
"""

import random
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import add_items, teach
from agentprm_dagster.launch.pieces import Build, Gradients, PieceError, Reader, Step
from agentprm_dagster.launch.sharding import whole

T = TypeVar("T")

_BUCKET = 2**25
"""So many numbers of gradients are summed in one message."""


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that train together: it writes and tells."""
    return not dist.is_initialized() or dist.get_rank() == 0


def from_first(value: T) -> T:
    """What the first process has; where there is only one, what it has."""
    if not dist.is_initialized():
        return value
    told = [value]
    dist.broadcast_object_list(told, 0)
    return told[0]


class Ranks:
    """What `launch.shards.Shards` is to one process."""

    def __init__(
        self, model: PreTrainedModel, build: Build, *arguments: Any, dtype: torch.dtype = torch.float32, **_: Any
    ) -> None:
        """See `launch.shards.Shards`.

        Raises:
            PieceError: the processes begin with different weights.
        """
        self.count, self._rank = dist.get_world_size(), dist.get_rank()
        self._model, self._spread = model, isinstance(model, FSDPModule)
        with whole(model):
            self._reader = Reader(model, build, self._rank, arguments, dtype)
        self._require_same_weights()

    def backward(self, parts: Sequence[Any], *, seed: int = 0) -> Step:
        """Leaves the gradients of the whole batch in the parameters of every process; see `launch.shards.Shards`.

        Where a batch has fewer parts than there are processes, the others read the first part, which does not count
        twice.
        """
        if len(parts) > self.count:
            raise PieceError(f"expected at most {self.count} parts of a batch, got {len(parts)}: none may be left out")
        reader, counts = self._reader, self._rank < len(parts)
        own = self._rank if counts else 0
        with whole(self._model):
            reader.cut(parts[own], random.Random(f"{seed} {own}").getrandbits(63), counts=counts)
        cut = self._gathered((reader.pieces, reader.counted))
        rounds = max(pieces for pieces, _ in cut) if self._spread else reader.pieces
        reader.start(rounds, counted=all(counted for _, counted in cut))
        items = add_items(self._gathered(reader.items()))
        teaches = teach(items)
        reader.go_on(items if teaches else None)
        gradients, own_loss, own_numbers = reader.finish()
        if teaches and not self._spread:
            self._sum(gradients)
        told = self._gathered((own_loss, own_numbers))
        for parameter, gradient in zip(reader.parameters, gradients, strict=True):
            parameter.grad = gradient if teaches else None
        return Step(sum(loss for loss, _ in told) if teaches else None, [each for _, said in told for each in said])

    def _sum(self, gradients: Gradients) -> None:
        """Sums the gradients of all processes; what none has a gradient of keeps none."""
        there = torch.tensor([gradient is not None for gradient in gradients], dtype=torch.int32)
        there = there.to(self._model.device)
        dist.all_reduce(there, dist.ReduceOp.MAX)
        bucket: list[torch.Tensor] = []
        for i, (has, parameter) in enumerate(zip(there.tolist(), self._reader.parameters, strict=True)):
            if not has:
                continue
            own = gradients[i]
            gradients[i] = gradient = torch.zeros_like(parameter) if own is None else own
            bucket.append(gradient)
            if sum(each.numel() for each in bucket) >= _BUCKET:
                _sum_together(bucket)
                bucket = []
        if bucket:
            _sum_together(bucket)

    def _gathered(self, own: Any) -> list[Any]:
        """What every process has, in their order."""
        gathered: list[Any] = [None] * self.count
        dist.all_gather_object(gathered, own)
        return gathered

    def _require_same_weights(self) -> None:
        with whole(self._model):
            sums = [float(parameter.detach().double().sum()) for parameter in self._model.parameters()]
        if len({str(each) for each in self._gathered(sums)}) > 1:
            raise PieceError(
                "the processes begin with different weights: expected the same model, drawn by the same seed, in all"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to end."""


def _sum_together(gradients: Sequence[torch.Tensor]) -> None:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))
