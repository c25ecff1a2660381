"""Gradients computed in two processes: a small model gains nothing from a second thread and all from a second process.

A step's batch is cut into shards, and its gradient is the sum of theirs, each term of the loss divided by its items in
the whole batch (`terms`). Where there are cores for it the shards are computed at the same time, the first here and the
others in processes of their own that share the parameters; elsewhere one after the other. The numbers are the same to
the last bit: cores decide when a model is trained, not which.
"""

import random
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import torch
import torch.multiprocessing  # tensors in shared memory can now be sent to another process
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import Items, add_items, teach
from agentprm_dagster.launch.cores import cores
from agentprm_dagster.launch.device import is_small
from agentprm_dagster.launch.pieces import Build, Gradients, Numbers, PieceError, Reader, Step
from agentprm_dagster.workers import Worker

_WORTH_A_PROCESS = 500_000
"""Tokens; to train on fewer takes hardly longer than starting a process."""


def shards_of(model: PreTrainedModel) -> int:
    """Into how many shards a model's batches are cut: two where it is small and on a CPU."""
    return 2 if is_small(model) else 1


class Shards:
    """The gradients of a model, shard by shard; a context manager, within which its parameters stay where they are."""

    def __init__(
        self,
        model: PreTrainedModel,
        build: Build,
        *arguments: Any,
        tokens: float = 0.0,
        dtype: torch.dtype = torch.float32,
        apart: bool | None = None,
    ) -> None:
        """
        Args:
            build: makes the work of a shard; like `arguments`, something that can be sent to another process.
            tokens: how many will be trained on in all.
            dtype: in which products are computed.
            apart: whether the other shards have processes of their own; None: if there are cores for it, and enough
                tokens to be worth starting them.
        """
        self.count = shards_of(model)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._here = _Shard(Reader(model, build, 0, arguments, dtype))
        self._others: list[_Elsewhere | _Shard] = []
        together = (cores() >= self.count and tokens >= _WORTH_A_PROCESS) if apart is None else apart
        for shard in range(1, self.count):
            if together:
                self._others.append(_Elsewhere(model, build, shard, arguments, dtype))
            else:
                self._others.append(_Shard(Reader(model, build, shard, arguments, dtype)))

    def backward(self, parts: Sequence[Any], *, seed: int = 0) -> Step:
        """Leaves the gradients of the whole batch in the parameters, none where nothing is to be learnt from it.

        Args:
            parts: at most as many as there are shards.
            seed: decides all that a shard draws from torch's own random numbers.

        Raises:
            PieceError: there are more parts than shards.
            WorkerError: a shard's process failed or died.
        """
        if len(parts) > self.count:
            raise PieceError(f"expected at most {self.count} parts of a batch, got {len(parts)}: none may be left out")
        shards: list[_Elsewhere | _Shard] = [self._here, *self._others[: len(parts) - 1]]
        # The last first: those elsewhere are at work while the one here is.
        for i, (shard, part) in reversed(list(enumerate(zip(shards, parts, strict=True)))):
            shard.start(part, random.Random(f"{seed} {i}").getrandbits(63))
        items = add_items([shard.items() for shard in shards])
        teaches = teach(items)
        for shard in reversed(shards):
            shard.go_on(items if teaches else None)
        gradients: Gradients = [None] * len(self._parameters)
        done = [shard.finish(gradients) for shard in shards]
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient if teaches else None
        numbers = [each for _, pieces in done for each in pieces]
        return Step(sum(loss for loss, _ in done) if teaches else None, numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for other in self._others:
            other.close()


def _add(gradients: Gradients, more: Sequence[torch.Tensor | None]) -> None:
    for i, own in enumerate(more):
        if (so_far := gradients[i]) is None:
            gradients[i] = own
        elif own is not None:
            so_far.add_(own)


class _Shard:
    """A shard that is computed in this process."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def start(self, part: Any, seed: int) -> None:
        """Reads its part of the batch."""
        self._reader.cut(part, seed)
        self._reader.start(self._reader.pieces, counted=self._reader.counted)

    def items(self) -> Items:
        """Over how many items each term goes."""
        return self._reader.items()

    def go_on(self, items: Items | None) -> None:
        """Computes the gradients, given the items of the whole batch; None: nothing is learnt from it."""
        self._reader.go_on(items)

    def finish(self, gradients: Gradients) -> tuple[float, list[Numbers]]:
        """Adds its gradients to those of the shards before; its part of the loss, and its pieces' numbers."""
        own, loss, numbers = self._reader.finish()
        _add(gradients, own)
        return loss, numbers

    def close(self) -> None:
        """There is nothing to end."""


class _Elsewhere:
    """A shard with a process of its own."""

    def __init__(
        self, model: PreTrainedModel, build: Build, shard: int, arguments: Sequence[Any], dtype: torch.dtype
    ) -> None:
        model.share_memory()
        self._gradients = [torch.zeros_like(p).share_memory_() for p in model.parameters() if p.requires_grad]
        self._worker = Worker(__name__)
        self._worker.send((self._gradients, model, build, shard, arguments, dtype))

    def start(self, part: Any, seed: int) -> None:
        self._worker.send((part, seed))

    def items(self) -> Items:
        message: Items = self._worker.receive()
        return message

    def go_on(self, items: Items | None) -> None:
        self._worker.send(items)

    def finish(self, gradients: Gradients) -> tuple[float, list[Numbers]]:
        """Adds its gradients to those of the shards before."""
        loss, numbers = self._worker.receive()
        _add(gradients, self._gradients)
        return loss, numbers

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()


def serve(pipe: Connection) -> None:
    """Computes shard after shard."""
    import agentprm_dagster.engine.embedded.attention  # noqa: F401, registers what the model may have been switched to

    torch.set_num_threads(1)
    gradients, model, build, shard, arguments, dtype = pipe.recv()
    here = _Shard(Reader(model, build, shard, arguments, dtype))
    while True:
        here.start(*pipe.recv())
        pipe.send(here.items())
        here.go_on(pipe.recv())
        own: Gradients = [None] * len(gradients)
        done = here.finish(own)
        for shared, gradient in zip(gradients, own, strict=True):
            shared.zero_() if gradient is None else shared.copy_(gradient)
        pipe.send(done)
