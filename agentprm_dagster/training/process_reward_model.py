"""The process reward model Q(s, a): soft binary cross-entropy on Monte-Carlo targets (the paper's Eq. 2).

A standard sequence-classification checkpoint with one label, its head read at the end token of every answer: one pass
over an episode and its branches scores all their decisions. Beside Eq. 2 stands a pairwise term on states where several
actions were tried: the value of a state is learnt long before the value of an action in it, and only the latter moves
a policy.

The head is read a second time where the environment's reply ends. There the action's consequence is known, the same
target is learnt from a tenth of the data, and what is read becomes the target of the first reading (temporal
difference learning: Q(s, a) is the expectation of the value behind the reply).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import nan
from pathlib import Path

import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from transformers import PreTrainedModel

from agentprm_dagster.config import Experiment, Prm
from agentprm_dagster.core.dialogue import Format
from agentprm_dagster.core.prm_report import prm_report
from agentprm_dagster.core.stage import Monitor, StageReport
from agentprm_dagster.core.targets import learnt_targets
from agentprm_dagster.core.types import Episode
from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.attention import use_grouped_attention
from agentprm_dagster.models.base_model import base_folder
from agentprm_dagster.models.chat import Chat
from agentprm_dagster.models.lean_layers import use_lean_layers
from agentprm_dagster.models.token_tree import TokenTree
from agentprm_dagster.training.episode_trees import by_game, families, family_trees
from agentprm_dagster.training.shards import Numbers, Work, shards_of
from agentprm_dagster.training.tree_training import batches_in_order, fit, read_heads, token_budget_batches, tokens_in


@dataclass(frozen=True, slots=True)
class Example:
    """One tree with the targets of its decisions."""

    tree: TokenTree
    ends: list[int]
    replies: list[int]
    """Where the reply to each decision ends; empty where replies are not read."""
    targets: list[float]
    rows: list[int]
    """Row of each decision in the targets table."""
    pairs: list[tuple[int, int]]
    """Different actions tried in one state, as positions in `ends`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The head's logits for some decisions (D,)."""

    answer: torch.Tensor
    """At the answer's end token: Q(s, a), all that is known before acting."""
    reply: torch.Tensor | None
    """At the end of the environment's reply: the same value, the consequence known."""


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
    trunk = base_folder(experiment.model) if settings.init == "base" else policy
    model = checkpoints.load_prm(previous) if previous else checkpoints.prm_from_policy(trunk, seed=seed)
    use_grouped_attention(model)
    use_lean_layers(model)
    examples = prm_examples(
        Chat(tokenizer),
        episodes,
        targets,
        experiment.dialogue.format,
        branch_turns=settings.branch_turns,
        read_replies=settings.reply_weight > 0,
        whole_games=settings.loss == "relative",
    )
    held_out = targets["held_out"].to_numpy()
    train = [example for example in examples if not held_out[example.rows[0]]]
    if settings.loss == "relative":
        train = [example for example in train if example.pairs]
    test = [example for example in examples if held_out[example.rows[0]]]
    batches = token_budget_batches(train, settings.batch_tokens // shards_of(model), seed)
    losses = fit(model, batches, prm_work, settings, seed=seed, monitor=monitor)
    answer, reply = predict(model, test, settings.batch_tokens)
    checkpoints.save(model, tokenizer, out)
    rows = [row for example in test for row in example.rows]
    scored = targets.iloc[rows].assign(logit=answer, reply_logit=reply)
    constant = float(learnt_targets(targets)[~targets["held_out"]].mean())
    limits = experiment.gates
    report = prm_report(
        scored,
        constant=constant,
        train_loss=losses,
        max_loss=limits.max_prm_loss,
        min_ordering=limits.min_ordering_accuracy,
        rank_by=experiment.improvement.rank_by,
        relative_margin=settings.margin if settings.loss == "relative" else None,
    )
    tokens = settings.epochs * tokens_in(train) + tokens_in(test)
    return replace(report, metrics={**report.metrics, "tokens": tokens})


def prm_examples(
    chat: Chat,
    episodes: Sequence[Episode],
    targets: pd.DataFrame,
    dialogue: Format,
    *,
    branch_turns: int,
    read_replies: bool,
    whole_games: bool = False,
) -> list[Example]:
    """Every family of episodes as trees with targets, or all families of a game as one: only decisions that are read
    together can be compared.
    """
    keys = zip(targets["episode_id"], targets["turn"], strict=True)
    row_of = {key: row for row, key in enumerate(keys)}
    q, states, actions = learnt_targets(targets).to_numpy(), targets["state"].to_numpy(), targets["action"].to_numpy()
    examples = []
    for family in by_game(episodes) if whole_games else families(episodes):
        for scored in family_trees(chat, family, dialogue, branch_turns=branch_turns):
            rows = [row_of[decision] for decision in scored.decisions]
            pairs = tried_pairs([(states[r], actions[r]) for r in rows])
            replies = scored.replies if read_replies else []
            examples.append(Example(scored.tree, scored.ends, replies, [float(q[r]) for r in rows], rows, pairs))
    return examples


def tried_pairs(decisions: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """All pairs of different actions among decisions (state, action) of one state; each action stands in them once."""
    by_state: dict[str, dict[str, int]] = {}
    for i, (state, action) in enumerate(decisions):
        by_state.setdefault(state, {}).setdefault(action, i)
    return [pair for tried in by_state.values() for pair in combinations(tried.values(), 2)]


def read_decisions(model: PreTrainedModel, examples: Sequence[Example]) -> Reading:
    """The head at every decision's answer and reply, example after example, in float32."""
    trees = [example.tree for example in examples]
    ends, replies = [example.ends for example in examples], [example.replies for example in examples]
    answer, reply = read_heads(model, trees, ends, replies)
    return Reading(answer, reply if len(reply) else None)


def prm_loss(reading: Reading, examples: Sequence[Example], settings: Prm, progress: float = 0.0) -> torch.Tensor:
    """The loss of the values read at the answers, and of those read at the replies.

    As training goes on (`progress` from 0 to 1), what the answer is to predict moves from the return of the rollouts
    to what is read at the reply, up to the share `bootstrap`: one rollout says little, the reply tells most.
    """
    device = reading.answer.device
    targets = torch.tensor([target for example in examples for target in example.targets], device=device)
    first, second = _pair_index(examples)
    if settings.loss == "relative":
        loss = relative_loss(reading.answer, targets, first, second, settings.margin)
        if reading.reply is None:
            return loss
        return loss + settings.reply_weight * relative_loss(reading.reply, targets, first, second, settings.margin)
    if reading.reply is None:
        return value_loss(reading.answer, targets, first, second, settings.pairwise_weight)
    blended = torch.lerp(targets, reading.reply.detach().sigmoid(), settings.bootstrap * progress)
    answer = value_loss(reading.answer, blended, first, second, settings.pairwise_weight)
    reply = value_loss(reading.reply, targets, first, second, settings.pairwise_weight)
    return answer + settings.reply_weight * reply


def value_loss(
    logits: torch.Tensor, targets: torch.Tensor, first: torch.Tensor, second: torch.Tensor, pairwise_weight: float
) -> torch.Tensor:
    """Soft BCE (Eq. 2) of logits (D,) on targets (D,), plus a pairwise term on decisions `first` and `second` (P,).

    The pairwise term is the logistic loss of the pair's order, weighted by how far its targets are apart.
    """
    loss = binary_cross_entropy_with_logits(logits, targets)
    if not pairwise_weight or not len(first):
        return loss
    gap = targets[first] - targets[second]
    order = softplus(-gap.sign() * (logits[first] - logits[second]))
    weight = gap.abs()
    return loss + pairwise_weight * (weight * order).sum() / weight.count_nonzero().clamp(min=1)


def relative_loss(
    logits: torch.Tensor, targets: torch.Tensor, first: torch.Tensor, second: torch.Tensor, margin: float
) -> torch.Tensor:
    """Bradley-Terry, in nats: -log sigma(logit of the better - logit of the worse), TRL's RewardTrainer's loss.

    The mean over the pairs `first`, `second` (P,) of decisions (D,) whose targets differ, by at least `margin`.
    """
    gap = targets[first] - targets[second]
    far = (gap != 0) & (gap.abs() >= margin)
    order = softplus(-gap.sign() * (logits[first] - logits[second]))
    return (far * order).sum() / far.sum().clamp(min=1)


def _pair_index(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    first, second, offset = [], [], 0
    for example in examples:
        first += [offset + a for a, _ in example.pairs]
        second += [offset + b for _, b in example.pairs]
        offset += len(example.ends)
    return torch.tensor(first, dtype=torch.long), torch.tensor(second, dtype=torch.long)


def prm_work(model: PreTrainedModel, shard: int, settings: Prm) -> Work:
    """From (examples, how far training has come) to their loss."""

    def work(part: tuple[list[Example], float]) -> tuple[torch.Tensor, Numbers]:
        examples, progress = part
        loss = prm_loss(read_decisions(model, examples), examples, settings, progress)
        return loss, {"loss": float(loss.detach())}

    return work


@torch.no_grad()
def predict(model: PreTrainedModel, examples: Sequence[Example], budget: int) -> tuple[list[float], list[float]]:
    """Logits of all decisions at the answers and at the replies (nan where none is read), in the examples' order."""
    model.eval()
    answer: list[float] = []
    reply: list[float] = []
    for batch in batches_in_order(examples, budget):
        reading = read_decisions(model, batch)
        answer += reading.answer.tolist()
        reply += [nan] * len(reading.answer) if reading.reply is None else reading.reply.tolist()
    return answer, reply
