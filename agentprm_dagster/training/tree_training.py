"""Training a model on token trees: batches of so many tokens, cut into shards, and a Trainer around them."""

import random
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import torch
from transformers import PreTrainedModel, Trainer, TrainingArguments

from agentprm_dagster.config import HeadTraining
from agentprm_dagster.core.stage import Monitor
from agentprm_dagster.models.token_tree import TokenTree, read_trees
from agentprm_dagster.training.monitoring import watch
from agentprm_dagster.training.optimizers import build_optimizer
from agentprm_dagster.training.shards import Shards, Work, shards_of
from agentprm_dagster.training.threads import training_threads


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


class _TreeTrainer(Trainer):
    """A Trainer whose dataset rows are whole steps: a batch of examples for every shard."""

    shards: Shards

    def training_step(
        self, model: PreTrainedModel, inputs: dict[str, list[list[HasTree]]], num_items_in_batch: int | None = None
    ) -> torch.Tensor:
        progress = self.state.global_step / self.state.max_steps
        numbers = self.shards.backward([(examples, progress) for examples in inputs["batches"]])
        return torch.tensor(fmean(said["loss"] for said in numbers))


def fit(
    model: PreTrainedModel,
    batches: Sequence[Sequence[HasTree]],
    build: Callable[..., Work],
    settings: HeadTraining,
    *arguments: Any,
    seed: int,
    monitor: Monitor,
) -> float:
    """Trains in place, a step on as many batches as there are shards; the mean training loss.

    `build(model, shard, settings, *arguments)` is a shard's work: from a batch and how far training has come, from 0 to
    1, to its loss.
    """
    count = shards_of(model)
    steps = [batches[first : first + count] for first in range(0, len(batches), count)]
    with TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=1,
            lr_scheduler_type="cosine",
            warmup_steps=settings.warmup_ratio,
            max_grad_norm=1.0,
            seed=seed,
            logging_steps=10,
            logging_nan_inf_filter=False,  # which would call a loss of NaN 0, and hide it from the gate
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = _TreeTrainer(
            model=model,
            args=args,
            train_dataset=steps,
            data_collator=lambda rows: {"batches": rows[0]},
            optimizers=(build_optimizer(model, settings.optimizer, learning_rate=settings.learning_rate), None),
        )
        watch(trainer, monitor)
        planned = settings.epochs * sum(map(tokens_in, batches))
        with training_threads(model), Shards(model, build, settings, *arguments, tokens=planned) as trainer.shards:
            return float(trainer.train().training_loss)
