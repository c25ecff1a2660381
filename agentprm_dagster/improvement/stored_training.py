"""Training on examples that are made of stored rollouts: some of them a step, for so many epochs."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from agentprm_dagster.improvement.history import History
from agentprm_dagster.improvement.settings import WARMUP, FromRollouts
from agentprm_dagster.improvement.stored import Start
from agentprm_dagster.launch.device import place_trained, training_threads
from agentprm_dagster.launch.gradients import gradients
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.pieces import Build
from agentprm_dagster.reports.improvement_report import together
from agentprm_dagster.training.loop import LOG_EVERY, Epochs, Plan, Training


class Example(Protocol):
    """What is read together."""

    @property
    def tokens(self) -> int:
        """Tokens of one pass, padding left out."""

    @property
    def padded(self) -> int:
        """The same with the padding that it has by itself."""


Some = TypeVar("Some", bound=Example)


class Done(NamedTuple):
    """A training's numbers."""

    history: list[dict[str, float]]
    planned: int
    """How many steps it was to have."""


def tokens_in(read: Sequence[Example]) -> int:
    """Tokens of one pass over all of them, padding left out."""
    return sum(example.tokens for example in read)


def train_on_examples(
    start: Start, read: Sequence[Example], settings: FromRollouts, size: int, job: Job, work: Build, *arguments: Any
) -> Done:
    """Trains `start.model` in place, `size` examples a step; the numbers of every step.

    `work`, called with the model, a part's number, the arguments and the compute's `micro_batch_tokens`, makes pieces
    of some examples.
    """
    model, history = start.model, History()
    epochs = Epochs(lambda rng: batches(read, size, rng), job.seed)
    plan = Plan(epochs.steps(settings.epochs), settings.optimizer, settings.learning_rate, warmup_ratio=WARMUP)
    place_trained(model, job.compute, start.dtype)
    model.eval()  # no dropout: the log-probabilities compared are those of the policy that acts
    training = Training(model, plan, job, states={"history": history})

    def parts(step: int) -> list[Sequence[Example]]:
        batch, count = epochs.batch(step), shards.count
        return [part for shard in range(count) if (part := batch[shard::count])]

    build = (model, work, *arguments, job.compute.micro_batch_tokens)
    tokens = settings.epochs * tokens_in(read)
    with training_threads(model), gradients(*build, tokens=tokens, dtype=start.dtype) as shards:
        for done in training.steps(shards, parts, "policy updates"):
            history.append({**together(done.numbers), **({} if done.loss is None else {"loss": done.loss})})
            if training.done % LOG_EVERY == 0:
                job.monitor.metrics(history[-1], training.done)
    return Done(history, plan.steps)


def batches(read: Sequence[Some], size: int, rng: random.Random) -> list[list[Some]]:
    """Every example once, `size` of them together."""
    shuffled = rng.sample(read, len(read))
    return [shuffled[first : first + size] for first in range(0, len(shuffled), size)]


def pieces(read: Sequence[Example], most: int | None, together: int) -> Iterator[list[int]]:
    """Places of examples, the longest first, so many `together`, and no more padded tokens than `most`, or one."""
    order = sorted(range(len(read)), key=lambda i: -read[i].padded)
    while order:
        count = min(max(most // read[order[0]].padded, 1), together) if most else together
        yield order[:count]
        order = order[count:]
