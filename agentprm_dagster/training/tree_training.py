"""Training a model on token trees: batches of so many tokens, one a shard at every step."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch
from transformers import PreTrainedModel

from agentprm_dagster.config import HeadTraining
from agentprm_dagster.engine.embedded.token_tree import TokenTree, read_trees
from agentprm_dagster.episodes.stage import Monitor, Resume
from agentprm_dagster.launch.shards import Shards, Work, shards_of
from agentprm_dagster.launch.threads import place, training_threads
from agentprm_dagster.training.loop import Epochs, Plan, Training


class HasTree(Protocol):
    """What is learnt from one token tree."""

    @property
    def tree(self) -> TokenTree:
        """The tokens that are read."""


Example = TypeVar("Example", bound=HasTree)


def tokens_in(examples: Sequence[HasTree]) -> int:
    """Tokens read in one pass, padding left out."""
    return sum(len(example.tree) for example in examples)


def token_budget_batches(examples: Sequence[Example], budget: int, seed: int) -> list[list[Example]]:
    """Batches of similar length whose padded size stays within a token budget, in random order."""
    rng = random.Random(seed)
    batches: list[list[Example]] = []
    for example in sorted(examples, key=lambda example: (len(example.tree), rng.random())):
        if batches and (len(batches[-1]) + 1) * len(example.tree) <= budget:
            batches[-1].append(example)
        else:
            batches.append([example])
    rng.shuffle(batches)
    return batches


def batches_in_order(examples: Sequence[Example], budget: int) -> Iterator[list[Example]]:
    """The examples one after the other, in batches whose padded size stays within a token budget."""
    batch: list[Example] = []
    for example in examples:
        if batch and (len(batch) + 1) * max(len(e.tree) for e in [*batch, example]) > budget:
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch


def read_heads(
    model: PreTrainedModel, trees: Sequence[TokenTree], *places: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """The head's logits at some places of every tree, tree after tree, in float32; one tensor for each of `places`."""
    hidden = read_trees(model, trees)

    def read(of_trees: Sequence[Sequence[int]]) -> torch.Tensor:
        rows = torch.tensor([i for i, each in enumerate(of_trees) for _ in each], dtype=torch.long)
        columns = torch.tensor([place for each in of_trees for place in each], dtype=torch.long)
        logits: torch.Tensor = model.score(hidden[rows, columns]).squeeze(-1).float()
        return logits

    return [read(of_trees) for of_trees in places]


def fit(
    model: PreTrainedModel,
    batches: Sequence[Sequence[HasTree]],
    build: Callable[..., Work],
    settings: HeadTraining,
    *arguments: Any,
    seed: int,
    monitor: Monitor,
    resume: Resume | None = None,
) -> float:
    """Trains in place, a step on as many batches as there are shards; the mean training loss.

    `build(model, shard, settings, *arguments)` is a shard's work: from a batch and how far training has come, from 0 to
    1, to the terms of its loss. With `resume` it goes on from where an earlier attempt has saved.
    """
    count = shards_of(model)
    together = [batches[first : first + count] for first in range(0, len(batches), count)]
    epochs = Epochs(lambda rng: rng.sample(together, len(together)), seed)
    plan = Plan(epochs.steps(settings.epochs), settings.optimizer, settings.learning_rate)
    place(model)
    model.train()
    training = Training(model, plan, seed=seed, monitor=monitor, resume=resume)

    def parts(step: int) -> list[tuple[Sequence[HasTree], float]]:
        return [(batch, step / plan.steps) for batch in epochs.batch(step)]

    tokens = settings.epochs * sum(map(tokens_in, batches))
    with training_threads(model), Shards(model, build, settings, *arguments, tokens=tokens) as shards:
        for _ in training.steps(shards, parts, "training steps"):
            pass
    return training.losses.mean
