"""The process reward model Q(s, a): soft binary cross-entropy on Monte-Carlo targets (the paper's Eq. 2).

A standard sequence-classification checkpoint with one label, its head read at the end token of every answer: one pass
over an episode and its branches scores all their decisions. Beside Eq. 2 stands a pairwise term on states where several
actions were tried: the value of a state is learnt long before the value of an action in it, and only the latter moves
a policy.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from transformers import PreTrainedModel, Trainer, TrainingArguments

from agentprm_dagster.config import Experiment, Prm
from agentprm_dagster.core.dialogue import Format
from agentprm_dagster.core.prm_report import prm_report
from agentprm_dagster.core.stage import Monitor, StageReport
from agentprm_dagster.core.types import Episode
from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.attention import use_grouped_attention
from agentprm_dagster.models.chat import Chat
from agentprm_dagster.models.lean_layers import use_lean_layers
from agentprm_dagster.models.token_tree import TokenTree, read_trees
from agentprm_dagster.training.episode_trees import families, family_trees
from agentprm_dagster.training.monitoring import watch
from agentprm_dagster.training.optimizers import build_optimizer


@dataclass(frozen=True, slots=True)
class Example:
    """One tree with the targets of its decisions."""

    tree: TokenTree
    ends: list[int]
    targets: list[float]
    rows: list[int]
    """Row of each decision in the targets table."""
    pairs: list[tuple[int, int]]
    """Decisions (better, worse) of one state, as positions in `ends`."""


def train_prm(
    policy: Path,
    episodes: Sequence[Episode],
    targets: pd.DataFrame,
    experiment: Experiment,
    out: Path,
    *,
    previous: Path | None,
    seed: int,
    monitor: Monitor,
) -> StageReport:
    """Trains a PRM on the games that are not held out, writes it to `out`, and reports on those that are."""
    settings = experiment.prm
    tokenizer = checkpoints.load_tokenizer(policy)
    trunk = checkpoints.base_path(experiment.model.name) if settings.init == "base" else policy
    model = checkpoints.load_prm(previous) if previous else checkpoints.prm_from_policy(trunk, seed=seed)
    use_grouped_attention(model)
    use_lean_layers(model)
    examples = prm_examples(
        Chat(tokenizer),
        episodes,
        targets,
        experiment.dialogue.format,
        margin=settings.pairwise_margin,
        branch_turns=settings.branch_turns,
    )
    held_out = targets["held_out"].to_numpy()
    train = [example for example in examples if not held_out[example.rows[0]]]
    test = [example for example in examples if held_out[example.rows[0]]]
    losses = fit(model, token_budget_batches(train, settings.batch_tokens, seed), settings, seed=seed, monitor=monitor)
    logits = predict(model, test, settings.batch_tokens)
    checkpoints.save(model, tokenizer, out)
    rows = [row for example in test for row in example.rows]
    scored = targets.iloc[rows].assign(logit=logits)
    constant = float(targets.loc[~targets["held_out"], "q"].mean())
    limits = experiment.gates
    return prm_report(
        scored,
        constant=constant,
        train_loss=losses,
        max_loss=limits.max_prm_loss,
        min_ordering=limits.min_ordering_accuracy,
    )


def prm_examples(
    chat: Chat,
    episodes: Sequence[Episode],
    targets: pd.DataFrame,
    dialogue: Format,
    *,
    margin: float,
    branch_turns: int,
) -> list[Example]:
    """Every family of episodes as trees with targets."""
    keys = zip(targets["episode_id"], targets["turn"], strict=True)
    row_of = {key: row for row, key in enumerate(keys)}
    q, states, actions = targets["q"].to_numpy(), targets["state"].to_numpy(), targets["action"].to_numpy()
    examples = []
    for family in families(episodes):
        for scored in family_trees(chat, family, dialogue, branch_turns=branch_turns):
            rows = [row_of[decision] for decision in scored.decisions]
            pairs = ordered_pairs([(states[r], actions[r], float(q[r])) for r in rows], margin)
            examples.append(Example(scored.tree, scored.ends, [float(q[r]) for r in rows], rows, pairs))
    return examples


def ordered_pairs(decisions: Sequence[tuple[str, str, float]], margin: float) -> list[tuple[int, int]]:
    """All (better, worse) among decisions (state, action, q) of one state whose targets differ by more than `margin`.

    An action tried more than once in a state stands in the pairs once.
    """
    by_state: dict[str, dict[str, int]] = {}
    for i, (state, action, _) in enumerate(decisions):
        by_state.setdefault(state, {}).setdefault(action, i)
    return [
        (a, b)
        for tried in by_state.values()
        for a in tried.values()
        for b in tried.values()
        if decisions[a][2] - decisions[b][2] > margin
    ]


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


def decision_logits(model: PreTrainedModel, examples: Sequence[Example]) -> torch.Tensor:
    """The head at every decision's end token, example after example (D,), in float32."""
    hidden = read_trees(model, [example.tree for example in examples])
    rows = torch.tensor([i for i, example in enumerate(examples) for _ in example.ends])
    ends = torch.tensor([end for example in examples for end in example.ends])
    logits: torch.Tensor = model.score(hidden[rows, ends]).squeeze(-1).float()
    return logits


def prm_loss(logits: torch.Tensor, examples: Sequence[Example], pairwise_weight: float) -> torch.Tensor:
    """Soft BCE over all decisions, plus the pairwise term weighted by how far the targets are apart."""
    targets = torch.tensor([target for example in examples for target in example.targets], device=logits.device)
    loss = binary_cross_entropy_with_logits(logits, targets)
    if not pairwise_weight:
        return loss
    better, worse = _pair_index(examples)
    if not len(better):
        return loss
    gap = targets[better] - targets[worse]
    return loss + pairwise_weight * (gap * softplus(logits[worse] - logits[better])).mean()


def _pair_index(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    better, worse, offset = [], [], 0
    for example in examples:
        better += [offset + b for b, _ in example.pairs]
        worse += [offset + w for _, w in example.pairs]
        offset += len(example.ends)
    return torch.tensor(better, dtype=torch.long), torch.tensor(worse, dtype=torch.long)


class _PrmTrainer(Trainer):
    """A Trainer whose dataset rows are whole batches of examples."""

    def __init__(self, *args: Any, pairwise_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pairwise_weight = pairwise_weight

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, list[Example]],
        return_outputs: bool = False,
        num_items_in_batch: int | None = None,
    ) -> torch.Tensor:
        return prm_loss(decision_logits(model, inputs["examples"]), inputs["examples"], self.pairwise_weight)


def fit(model: PreTrainedModel, batches: list[list[Example]], settings: Prm, *, seed: int, monitor: Monitor) -> float:
    """Trains in place; the mean training loss."""
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
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = _PrmTrainer(
            model=model,
            args=args,
            train_dataset=batches,
            data_collator=lambda rows: {"examples": rows[0]},
            optimizers=(build_optimizer(model, settings.optimizer, learning_rate=settings.learning_rate), None),
            pairwise_weight=settings.pairwise_weight,
        )
        watch(trainer, monitor)
        return float(trainer.train().training_loss)


@torch.no_grad()
def predict(model: PreTrainedModel, examples: Sequence[Example], budget: int) -> list[float]:
    """Logits of all decisions, in the order of the examples."""
    model.eval()
    logits: list[float] = []
    batch: list[Example] = []
    for example in examples:
        if batch and (len(batch) + 1) * max(len(e.tree) for e in [*batch, example]) > budget:
            logits += decision_logits(model, batch).tolist()
            batch = []
        batch.append(example)
    return logits + (decision_logits(model, batch).tolist() if batch else [])
