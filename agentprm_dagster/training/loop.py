"""The loop of every training: the gradients of a batch, a step of the optimizer, a snapshot every so often.

What a step draws at random depends on the seed and the step's number alone, and the order of the batches on the seed
and the epoch: a training that goes on from a snapshot ends with the same bytes as one that was never killed.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from transformers import PreTrainedModel, get_cosine_schedule_with_warmup

from agentprm_dagster.launch.device import give_memory_back
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.pieces import Step
from agentprm_dagster.launch.ranks import Ranks
from agentprm_dagster.launch.sharding import whole_number
from agentprm_dagster.launch.shards import Shards
from agentprm_dagster.training.optimizers import OptimizerName, build_optimizer
from agentprm_dagster.training.snapshots import Moments, Snapshots, Stateful, Weights

MAX_GRADIENT = 1.0
"""The norm that gradients are clipped to."""

WARMUP = 0.05
"""Share of the steps in which the learning rate rises, where a plan does not say otherwise."""

LOG_EVERY = 10
"""Steps between two points of the curves."""

Row = TypeVar("Row")


class TrainingError(ValueError):
    """There is nothing to train on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many steps of which size."""

    steps: int
    optimizer: OptimizerName
    learning_rate: float
    """At its height; it falls along a cosine to 0."""
    weight_decay: float = 0.0
    warmup_ratio: float = WARMUP
    """Share of the steps in which it rises from 0."""


class Losses(list[float | None]):
    """The loss of every step so far; None where a step had nothing to learn."""

    def state_dict(self) -> dict[str, Any]:
        """The losses."""
        return {"losses": list(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the losses over."""
        self[:] = state_dict["losses"]

    @property
    def mean(self) -> float:
        """Over the steps that had one; NaN where none had."""
        known = [loss for loss in self if loss is not None]
        return sum(known) / len(known) if known else math.nan


class Training:
    """A model being trained in place; whoever runs it may do something after every step."""

    def __init__(
        self,
        model: PreTrainedModel,
        plan: Plan,
        job: Job,
        *,
        states: Mapping[str, Stateful] | None = None,
    ) -> None:
        """Goes on from where an earlier attempt has saved, if there was one.

        `states` are what else goes on from there: they are restored here and saved with the rest.
        """
        self.model, self.plan, self.job = model, plan, job
        self.losses = Losses()
        self._optimizer = build_optimizer(
            model, plan.optimizer, learning_rate=plan.learning_rate, weight_decay=plan.weight_decay
        )
        warmup = math.ceil(plan.warmup_ratio * plan.steps)
        self._schedule = get_cosine_schedule_with_warmup(self._optimizer, warmup, plan.steps)
        own = {
            "model": Weights(model),
            "optimizer": Moments(model, self._optimizer),
            "schedule": self._schedule,
            "losses": self.losses,
        }
        self._snapshots = Snapshots(job.resume, {**own, **(states or {})})
        self.done = self._snapshots.restore()
        """How many steps are done."""

    def steps(self, shards: Shards | Ranks, parts_of: Callable[[int], Sequence[Any]], what: str) -> Iterator[Step]:
        """Every step that is left, once it is done; `parts_of` a step's number are the parts of its batch.

        Where it is left before the end, nothing more is done.
        """
        for number in range(self.done, self.plan.steps):
            step = shards.backward(parts_of(number), seed=step_seed(self.job.seed, number))
            norm = whole_number(torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT))
            rate = self._schedule.get_last_lr()[0]
            self._optimizer.step()
            self._optimizer.zero_grad()
            self._schedule.step()
            give_memory_back(self.model)
            self.losses.append(step.loss)
            self.done = number + 1
            self.job.monitor.progress(self.done, self.plan.steps, what)
            if (self.done % LOG_EVERY == 0 or self.done == self.plan.steps) and step.loss is not None:
                numbers = {"loss": step.loss, "grad_norm": norm, "learning_rate": rate}
                self.job.monitor.metrics(numbers, self.done)
            yield step
            self._snapshots.after(self.done)


def step_seed(seed: int, number: int) -> int:
    """The seed of all that is random in one step."""
    return random.Random(f"{seed} step {number}").getrandbits(63)


class Epochs(Generic[Row]):
    """The batches of one epoch after another, each epoch's in an order of its own."""

    def __init__(self, batches_of: Callable[[random.Random], Sequence[Sequence[Row]]], seed: int) -> None:
        """`batches_of` makes an epoch's batches, always as many, with a source of random numbers of that epoch.

        Raises:
            TrainingError: there are none.
        """
        self._batches_of, self._seed = batches_of, seed
        self._epoch, self._batches = 0, self._of(0)
        if not self._batches:
            raise TrainingError(
                "expected something to learn from, got no examples: are all games held out, or none won?"
            )

    def steps(self, epochs: float) -> int:
        """The steps of so many epochs, the last one perhaps in part."""
        return math.ceil(epochs * len(self._batches))

    def batch(self, step: int) -> Sequence[Row]:
        """The batch of a step, counted from the first epoch's first."""
        epoch, place = divmod(step, len(self._batches))
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._of(epoch)
        return self._batches[place]

    def _of(self, epoch: int) -> Sequence[Sequence[Row]]:
        return self._batches_of(random.Random(f"{self._seed} epoch {epoch}"))
