"""Training a model on token trees: batches of so many tokens, one a shard at every step.

PRMs, V_mu and the world model are trained here; each says itself what it learns of a tree (`Loss`).
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import Items, Terms
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.engine.embedded.token_tree import TokenTree, read_trees
from agentprm_dagster.launch.device import place_trained, training_threads
from agentprm_dagster.launch.gradients import gradients
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.pieces import Piece, Work
from agentprm_dagster.launch.shards import shards_of
from agentprm_dagster.section import HeadTraining
from agentprm_dagster.training.loop import Epochs, Plan, Training


class HasTree(Protocol):
    """What is learnt from one token tree."""

    @property
    def tree(self) -> TokenTree:
        """The tokens that are read."""


Example = TypeVar("Example", bound=HasTree)

MIXED = 4
"""Groups of similar length in a step, where it has room for them.

Episodes of one length mostly end alike. A step on one group would be on won ones alone or on lost ones alone, whose
gradients differ in size by an order of magnitude; as they are clipped, the value that is learnt would be too low.
"""

Loss = Callable[..., Terms]
"""From a model, examples, the settings and how far training has come, from 0 to 1, to the terms of the loss.

A function of a module, so that it can be sent to another process.
"""

Counted = Callable[..., Items | None]
"""From examples and the settings to the items of the loss's terms; None where only reading the examples tells them."""


def tokens_in(examples: Sequence[HasTree]) -> int:
    """Tokens read in one pass, padding left out."""
    return sum(len(example.tree) for example in examples)


def token_budget_batches(examples: Sequence[Example], budget: int, seed: int) -> list[list[Example]]:
    """Batches of similar length whose padded size stays within a token budget, in random order."""
    rng = random.Random(seed)
    batches = list(batches_in_order(sorted(examples, key=lambda each: (len(each.tree), rng.random())), budget))
    rng.shuffle(batches)
    return batches


def batches_in_order(examples: Sequence[Example], budget: int) -> Iterator[list[Example]]:
    """The examples one after the other, in batches whose padded size stays within a token budget."""
    batch: list[Example] = []
    longest = 0
    for example in examples:
        longest = max(longest, len(example.tree))
        if batch and (len(batch) + 1) * longest > budget:
            yield batch
            batch, longest = [], len(example.tree)
        batch.append(example)
    if batch:
        yield batch


def read_heads(
    model: PreTrainedModel, examples: Sequence[HasTree], *places: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """The head's logits at some places of every tree, tree after tree, in float32; one tensor for each of `places`."""
    return [model.score(hidden).squeeze(-1).float() for hidden in hidden_at(model, examples, *places)]


def hidden_at(
    model: PreTrainedModel, examples: Sequence[HasTree], *places: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """The hidden states (N, H) that `read_heads` reads."""
    found = [[(row, column) for row, of_tree in enumerate(each) for column in of_tree] for each in places]
    # Sent before the model is run: a GPU that is sent something later is waited for.
    sent = [torch.tensor(each, dtype=torch.long).reshape(-1, 2).to(model.device) for each in found]
    hidden = read_trees(model, [example.tree for example in examples])
    return [hidden[each.unbind(1)] for each in sent]


def fit(
    model: PreTrainedModel,
    examples: Sequence[HasTree],
    loss: Loss,
    settings: HeadTraining,
    job: Job,
    *,
    items: Counted | None = None,
    dtype: torch.dtype = torch.float32,
) -> float:
    """Trains in place, products in `dtype`, a step on several groups of examples of similar length; the mean loss.

    `items` says those of the loss without reading the examples, where it can.
    """
    use_grouped_attention(model)
    use_lean_layers(model)
    count = groups_in_a_step(model, examples, settings.batch_tokens)
    groups = token_budget_batches(examples, settings.batch_tokens // count, job.seed)
    together = [groups[first : first + count] for first in range(0, len(groups), count)]
    epochs = Epochs(lambda rng: rng.sample(together, len(together)), job.seed)
    plan = Plan(epochs.steps(settings.epochs), settings.optimizer, settings.learning_rate)
    place_trained(model, job.compute, dtype)
    model.train()
    training = Training(model, plan, job)

    def parts(step: int) -> list[tuple[Sequence[HasTree], float]]:
        return [(part, step / plan.steps) for part in dealt(epochs.batch(step), shards.count)]

    tokens = settings.epochs * tokens_in(examples)
    work = (tree_work, loss, items, settings, job.compute.micro_batch_tokens)
    with training_threads(model), gradients(model, *work, tokens=tokens, dtype=dtype) as shards:
        for _ in training.steps(shards, parts, "training steps"):
            pass
    return training.losses.mean


def groups_in_a_step(model: PreTrainedModel, examples: Sequence[HasTree], budget: int) -> int:
    """How many: a small model's shards read one each, and another model as many as there is room for."""
    longest = max((len(example.tree) for example in examples), default=1)
    shards = shards_of(model)
    return shards if shards > 1 else max(1, min(MIXED, budget // longest))


def dealt(groups: Sequence[Sequence[Example]], count: int) -> list[Sequence[Example]]:
    """The groups of a step, or where they are not as many as there are parts their examples, dealt out in turn."""
    if len(groups) == count:
        return list(groups)
    examples = [example for group in groups for example in group]
    return [part for number in range(count) if (part := examples[number::count])]


def tree_work(
    model: PreTrainedModel,
    shard: int,
    loss: Loss,
    items: Counted | None,
    settings: HeadTraining,
    most: int | None = None,
) -> Work:
    """From (examples, how far training has come) to pieces of at most so many padded tokens, or as many as a step's."""

    def piece(examples: Sequence[HasTree], progress: float) -> Piece:
        return Piece(lambda: (loss(model, examples, settings, progress), {}), items and items(examples, settings))

    def work(part: tuple[Sequence[HasTree], float]) -> list[Piece]:
        examples, progress = part
        return [piece(some, progress) for some in batches_in_order(examples, most or settings.batch_tokens)]

    return work
