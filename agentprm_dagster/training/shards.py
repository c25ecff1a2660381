"""Gradients computed in two processes: a small model gains nothing from a second thread and all from a second process.

A step's batch is cut into shards, and its gradient is the mean of theirs. Where there are cores for it the shards are
computed at the same time, the first here and the others in processes of their own that share the parameters; elsewhere
one after the other. The numbers are the same to the last bit: cores decide when a model is trained, not which.
"""

import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import multiprocessing
from transformers import PreTrainedModel

from agentprm_dagster.inference.pool import cores
from agentprm_dagster.training.threads import is_small

_WORTH_A_PROCESS = 500_000
"""Tokens; to train on fewer takes hardly longer than starting a process."""

Numbers = dict[str, float]
Work = Callable[[Any], tuple[torch.Tensor | None, Numbers]]
"""From a shard of a batch to its loss, None where nothing is learnt from it, and numbers to watch."""
Build = Callable[..., Work]
"""Called with the model, the shard's number and further arguments, in the process that is to do the work."""


class ShardError(RuntimeError):
    """A process that computed gradients failed or died."""


def shards_of(model: PreTrainedModel) -> int:
    """Into how many shards a model's batches are cut: two where it is small and on a CPU."""
    return 2 if is_small(model) else 1


class _Done(NamedTuple):
    numbers: Numbers
    learnt: bool
    """Whether there is a gradient."""


class Shards:
    """The gradients of a model, shard by shard; a context manager, within which its parameters stay where they are."""

    def __init__(
        self,
        model: PreTrainedModel,
        build: Build,
        *arguments: Any,
        tokens: float = 0.0,
        apart: bool | None = None,
    ) -> None:
        """
        Args:
            build: makes the work of a shard; like `arguments`, something that can be sent to another process.
            tokens: how many will be trained on in all.
            apart: whether the other shards have processes of their own; None: if there are cores for it, and enough
                tokens to be worth starting them.
        """
        count = shards_of(model)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._here = build(model, 0, *arguments)
        self._others: list[_Elsewhere | _Later] = []
        together = (cores() >= count and tokens >= _WORTH_A_PROCESS) if apart is None else apart
        for shard in range(1, count):
            if together:
                self._others.append(_Elsewhere(model, build, shard, arguments))
            else:
                self._others.append(_Later(self._parameters, build(model, shard, *arguments)))

    def backward(self, parts: Sequence[Any]) -> list[Numbers]:
        """Leaves the mean of the shards' gradients in the parameters, and answers what each shard says.

        `parts` are at most as many as shards. A shard without anything to learn counts as a gradient of zero; where
        no shard has any, the parameters are left without gradients.

        Raises:
            ShardError: a shard's process failed or died.
        """
        busy = list(zip(self._others, parts[1:], strict=False))
        for other, part in busy:
            other.start(part)
        done, gradients = _compute(self._here, self._parameters, parts[0])
        results = [done, *(other.finish(gradients) for other, _ in busy)]
        learnt = any(result.learnt for result in results)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient.div_(len(parts)) if learnt else None
        return [result.numbers for result in results]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for other in self._others:
            other.close()


def _compute(work: Work, parameters: Sequence[torch.nn.Parameter], part: Any) -> tuple[_Done, list[torch.Tensor]]:
    """One shard's numbers and gradients, zeros where there are none."""
    for parameter in parameters:
        parameter.grad = None
    loss, numbers = work(part)
    if loss is not None:
        loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return _Done(numbers, loss is not None), gradients


class _Later:
    """A shard that waits until the first is done."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], work: Work) -> None:
        self._parameters, self._work = parameters, work
        self._part: Any = None

    def start(self, part: Any) -> None:
        self._part = part

    def finish(self, gradients: Sequence[torch.Tensor]) -> _Done:
        """Adds its gradients to those of the shards before."""
        done, own = _compute(self._work, self._parameters, self._part)
        torch._foreach_add_(list(gradients), own)
        return done

    def close(self) -> None:
        """There is nothing to end."""


class _Elsewhere:
    """A shard with a process of its own."""

    def __init__(self, model: PreTrainedModel, build: Build, shard: int, arguments: Sequence[Any]) -> None:
        model.share_memory()
        self._gradients = [torch.zeros_like(p).share_memory_() for p in model.parameters() if p.requires_grad]
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_serve, args=(theirs, self._gradients, model, build, shard, arguments), daemon=True
        )
        self._process.start()
        theirs.close()

    def start(self, part: Any) -> None:
        with suppress(ConnectionError):  # its end is heard of when it is to be finished
            self._pipe.send(part)

    def finish(self, gradients: Sequence[torch.Tensor]) -> _Done:
        """Adds its gradients to those of the shards before."""
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            raise ShardError(
                f"a process that computed gradients ended with exit code {self._process.exitcode} before its work was "
                "done; one that was killed (-9) may have found no memory"
            ) from error
        if isinstance(answer, str):
            raise ShardError(f"a process that computed gradients failed:\n{answer}")
        torch._foreach_add_(list(gradients), self._gradients)
        return _Done(*answer)

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join()


def _serve(
    pipe: Any, gradients: list[torch.Tensor], model: PreTrainedModel, build: Build, shard: int, arguments: Sequence[Any]
) -> None:
    """Computes shard after shard, until nobody asks any more."""
    import agentprm_dagster.models.attention  # noqa: F401, registers what the model may have been switched to

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    torch.set_num_threads(1)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        work = build(model, shard, *arguments)
        while True:
            done, own = _compute(work, parameters, pipe.recv())
            torch._foreach_copy_(gradients, own)
            pipe.send(tuple(done))
    except EOFError:
        return
    except Exception:  # whatever it is, whoever asked is told, and raises it there
        with suppress(ConnectionError):  # nobody is there any more
            pipe.send(traceback.format_exc())
