"""Training the PRM: an episode and its branches in one pass, against one sample for every state and action.

Both learn the same decisions with the same loss, optimizer and number of updates, from the same policy; so both their
speed and what they have learnt at the end can be compared.
"""

from collections.abc import Sequence
from functools import cache
from tempfile import TemporaryDirectory
from time import perf_counter

import datasets
import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import DataCollatorWithPadding, PreTrainedModel, Trainer, TrainingArguments

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Prm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import product_dtype
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.shards import shards_of
from agentprm_dagster.training.loop import WARMUP
from agentprm_dagster.training.optimizers import build_optimizer
from agentprm_dagster.training.prm_examples import Example, loss_terms, predict, prm_examples
from agentprm_dagster.training.tree_training import fit, token_budget_batches
from benchmarks.limits import matmul_flops, token_flops
from benchmarks.measure import RUNS, Row, summarise
from benchmarks.workload import noisy_rollouts, policy

GAMES = 8
"""Few: the baseline reads every conversation once for every decision in it. `prm_loss` takes more."""
SETTINGS = Prm(epochs=1, learning_rate=2e-3, batch_tokens=2048, pairwise_weight=0, reply_weight=0)
"""Eq. 2 alone: what one sample a decision can learn from."""


def run() -> list[Row]:
    """Decisions a second of training."""
    torch.set_num_threads(1)
    train, _ = data(GAMES)
    flops = 3 * token_flops(_prm(0)) * sum(len(example.tree) for example in train) / count(train)
    limit = matmul_flops(product_dtype(), 1) / flops
    speeds = [(in_one_pass(seed, GAMES, SETTINGS)[0], one_by_one(seed, GAMES, SETTINGS)[0]) for seed in range(RUNS)]
    return [summarise("training", "decisions/s", speeds, limit=limit)]


@cache
def data(games: int) -> tuple[list[Example], list[Example]]:
    """Families of episodes for training, and those of games held out."""
    episodes = noisy_rollouts(games)
    targets = mc_value_targets(episodes, gamma=0.9, held_out_games=0.25, seed=0)
    examples = prm_examples(_chat(), episodes, targets, "append", branch_turns=1, read_replies=False)
    held_out: pd.Series = targets["held_out"]
    train = [example for example in examples if not held_out[example.rows[0]]]
    return train, [example for example in examples if held_out[example.rows[0]]]


@cache
def _chat() -> Chat:
    return Chat(checkpoints.load_tokenizer(policy()), WORDING)


def _prm(seed: int) -> PreTrainedModel:
    return checkpoints.prm_from_policy(policy(), seed=seed)


def _batches(train: list[Example], settings: Prm, seed: int) -> list[list[Example]]:
    return token_budget_batches(train, settings.batch_tokens // shards_of(_prm(seed)), seed)


def count(examples: Sequence[Example]) -> int:
    """Decisions in all examples."""
    return sum(len(example.ends) for example in examples)


def bce(logits: Sequence[float], examples: Sequence[Example]) -> float:
    """The mean loss of Eq. 2, in nats."""
    targets = torch.tensor([target for example in examples for target in example.targets])
    return float(binary_cross_entropy_with_logits(torch.tensor(logits), targets))


def in_one_pass(seed: int, games: int, settings: Prm) -> tuple[float, float]:
    """Decisions a second, and the held-out loss, of our training."""
    train, test = data(games)
    model = _prm(seed)
    start = perf_counter()
    fit(model, train, loss_terms, settings, job=Job(seed=seed))
    speed = settings.epochs * count(train) / (perf_counter() - start)
    logits, _ = predict(model, test, settings.batch_tokens)
    return speed, bce(logits, test)


def one_by_one(seed: int, games: int, settings: Prm) -> tuple[float, float]:
    """The same of transformers' Trainer with a row for every decision: all tokens before it, and its own."""
    train, test = data(games)
    model = _prm(seed)
    model.config.problem_type = "multi_label_classification"  # soft labels: binary cross-entropy
    rows = [row for example in train for row in _rows(example)]
    steps = -(-len(_batches(train, settings, seed)) // shards_of(model))
    with TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=-(-len(rows) // steps),
            lr_scheduler_type="cosine",
            warmup_steps=WARMUP,
            max_grad_norm=1.0,
            seed=seed,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(
            model=model,
            args=args,
            train_dataset=datasets.Dataset.from_list(rows),
            data_collator=DataCollatorWithPadding(_chat().tokenizer),
            optimizers=(build_optimizer(model, settings.optimizer, learning_rate=settings.learning_rate), None),
        )
        start = perf_counter()
        trainer.train()
        speed = settings.epochs * len(rows) / (perf_counter() - start)
    use_grouped_attention(model)
    logits, _ = predict(model, test, settings.batch_tokens)
    return speed, bce(logits, test)


def _rows(example: Example) -> list[dict[str, object]]:
    """A family's decisions, each with its whole conversation."""
    tree = example.tree
    mask = torch.zeros(len(tree), len(tree), dtype=torch.bool)
    tree.fill(mask)
    ids = torch.tensor(tree.ids)
    return [
        {"input_ids": ids[mask[end]].tolist(), "labels": [target]}
        for end, target in zip(example.ends, example.targets, strict=True)
    ]
