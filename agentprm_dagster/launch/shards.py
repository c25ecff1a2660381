"""Gradients computed in two processes: a small model gains nothing from a second thread and all from a second process.

A step's batch is cut into shards, and its gradient is the sum of theirs, each term of the loss divided by its items in
the whole batch (`terms`). A shard may be read in several pieces, one after another, so that the activations of one at a
time lie in memory. Where there are cores for it the shards are computed at the same time, the first here and the
others in processes of their own that share the parameters; elsewhere one after the other. The numbers are the same to
the last bit: cores decide when a model is trained, not which.
"""

import random
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
import torch.multiprocessing  # tensors in shared memory can now be sent to another process
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import Items, Terms, add_items, items_of, loss_of, teach
from agentprm_dagster.launch.cores import cores
from agentprm_dagster.launch.device import is_small, precision
from agentprm_dagster.workers import Worker

_WORTH_A_PROCESS = 500_000
"""Tokens; to train on fewer takes hardly longer than starting a process."""

Numbers = dict[str, float]


class Piece(NamedTuple):
    """What is read of a shard in one forward and backward pass."""

    read: Callable[[], tuple[Terms, Numbers]]
    """Computes the terms of its loss, and numbers to watch."""
    items: Items | None = None
    """Those of its terms, where they are known before it is read; None: several such pieces are read twice."""


Work = Callable[[Any], Sequence[Piece]]
"""From a shard's part of a batch to its pieces."""
Build = Callable[..., Work]
"""Called with the model, the shard's number and further arguments, in the process that is to do the work."""


class ShardError(ValueError):
    """A batch was cut into more parts than there are shards, or a piece's items are not those that it said."""


def shards_of(model: PreTrainedModel) -> int:
    """Into how many shards a model's batches are cut: two where it is small and on a CPU."""
    return 2 if is_small(model) else 1


class Step(NamedTuple):
    """What a batch's gradients were computed from."""

    loss: float | None
    """Of the whole batch; None where nothing was to be learnt, and the parameters have no gradients."""
    numbers: list[Numbers]
    """What each piece says, shard after shard."""


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
        self._here = _Shard(model, build, 0, arguments, dtype)
        self._others: list[_Elsewhere | _Shard] = []
        together = (cores() >= self.count and tokens >= _WORTH_A_PROCESS) if apart is None else apart
        for shard in range(1, self.count):
            if together:
                self._others.append(_Elsewhere(model, build, shard, arguments, dtype))
            else:
                self._others.append(_Shard(model, build, shard, arguments, dtype))

    def backward(self, parts: Sequence[Any], *, seed: int = 0) -> Step:
        """Leaves the gradients of the whole batch in the parameters, none where nothing is to be learnt from it.

        Args:
            parts: at most as many as there are shards.
            seed: decides all that a shard draws from torch's own random numbers.

        Raises:
            ShardError: there are more parts than shards.
            WorkerError: a shard's process failed or died.
        """
        if len(parts) > self.count:
            raise ShardError(f"expected at most {self.count} parts of a batch, got {len(parts)}: none may be left out")
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


Gradients = list[torch.Tensor | None]
"""Of every parameter; None where it has none."""


def _add(gradients: Gradients, more: Sequence[torch.Tensor | None]) -> None:
    for i, own in enumerate(more):
        if (so_far := gradients[i]) is None:
            gradients[i] = own
        elif own is not None:
            so_far.add_(own)


class _Shard:
    """A shard that is computed in this process."""

    def __init__(
        self, model: PreTrainedModel, build: Build, shard: int, arguments: Sequence[Any], dtype: torch.dtype
    ) -> None:
        self._model, self._dtype = model, dtype
        with precision(model, dtype):
            self._work = build(model, shard, *arguments)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def start(self, part: Any, seed: int) -> None:
        """Cuts its part of the batch into pieces, and reads it where it is one."""
        torch.manual_seed(seed)
        with precision(self._model, self._dtype):
            self._pieces = self._work(part)
        self._first = self._read(self._pieces[0]) if len(self._pieces) == 1 else None

    def items(self) -> Items:
        """Over how many items each term goes."""
        if self._first:
            return items_of(self._first[0])
        return add_items([self._items(piece) for piece in self._pieces])

    def go_on(self, items: Items | None) -> None:
        """Computes the gradients, given the items of the whole batch; None: nothing is learnt from it."""
        self._loss, self._numbers = 0.0, []
        for parameter in self._parameters:
            parameter.grad = None
        for piece in self._pieces:
            with torch.set_grad_enabled(items is not None):
                terms, numbers = self._first or self._read(piece)
            self._first = None
            self._numbers.append(numbers)
            if piece.items not in (None, items_of(terms)):
                raise ShardError(f"a piece said that its terms have {piece.items} items, and has {items_of(terms)}")
            if items is not None and (loss := loss_of(terms, items)).requires_grad:
                loss.backward()
                self._loss += float(loss.detach())
        self._own = [parameter.grad for parameter in self._parameters]

    def _read(self, piece: Piece) -> tuple[Terms, Numbers]:
        with precision(self._model, self._dtype, keep=False):  # all but the head are read once
            return piece.read()

    @torch.no_grad()
    def _items(self, piece: Piece) -> Items:
        return items_of(self._read(piece)[0]) if piece.items is None else piece.items

    def finish(self, gradients: Gradients) -> tuple[float, list[Numbers]]:
        """Adds its gradients to those of the shards before; its part of the loss, and its pieces' numbers."""
        own, self._own = self._own, []  # kept any longer, they would lie in memory beside the next step's
        _add(gradients, own)
        return self._loss, self._numbers

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
    here = _Shard(model, build, shard, arguments, dtype)
    while True:
        here.start(*pipe.recv())
        pipe.send(here.items())
        here.go_on(pipe.recv())
        own: Gradients = [None] * len(gradients)
        done = here.finish(own)
        for shared, gradient in zip(gradients, own, strict=True):
            shared.zero_() if gradient is None else shared.copy_(gradient)
        pipe.send(done)
