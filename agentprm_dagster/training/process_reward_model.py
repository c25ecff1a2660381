"""The process reward model Q(s, a), trained on Monte-Carlo targets (`algorithm.prm_loss`).

A standard sequence-classification checkpoint with one label, its head read at the end token of every answer, and again
where the environment's reply ends: one pass over an episode and its branches scores all their decisions.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import nan
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.prm_loss import Reading
from agentprm_dagster.algorithm.targets import learnt_targets
from agentprm_dagster.algorithm.terms import Terms
from agentprm_dagster.config import Prm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.launch.shards import Numbers, Work, shards_of
from agentprm_dagster.reports.prm_report import prm_report
from agentprm_dagster.training.episode_trees import by_game, families, family_trees
from agentprm_dagster.training.prm_examples import Example, terms_of
from agentprm_dagster.training.tree_training import batches_in_order, fit, read_heads, token_budget_batches, tokens_in


def train_prm(
    policy: Path,
    episodes: Sequence[Episode],
    targets: pd.DataFrame,
    settings: Prm,
    wording: Wording,
    out: Path,
    *,
    dialogue: Format,
    max_loss: float,
    min_ordering: float,
    rank_by: Literal["answer", "reply"] = "answer",
    base: Path | None = None,
    previous: Path | None = None,
    seed: int,
    monitor: Monitor,
    resume: Resume | None = None,
) -> StageReport:
    """Trains a PRM on the games that are not held out, writes it to `out`, and reports on those that are.

    It begins at the trunk of `policy`, of the untuned model `base` where one is given, or is the PRM `previous` trained
    on. `max_loss`, `min_ordering` and `rank_by` are for the gates (`reports.prm_report`).
    """
    tokenizer = checkpoints.load_tokenizer(policy)
    model = checkpoints.load_prm(previous) if previous else checkpoints.prm_from_policy(base or policy, seed=seed)
    use_grouped_attention(model)
    use_lean_layers(model)
    examples = prm_examples(
        Chat(tokenizer, wording),
        episodes,
        targets,
        dialogue,
        branch_turns=1,  # what a branch was played for
        read_replies=settings.reply_weight > 0,
        whole_games=settings.loss == "relative",
    )
    held_out = targets["held_out"].to_numpy()
    train = [example for example in examples if not held_out[example.rows[0]]]
    if settings.loss == "relative":
        train = [example for example in train if example.pairs]
    test = [example for example in examples if held_out[example.rows[0]]]
    batches = token_budget_batches(train, settings.batch_tokens // shards_of(model), seed)
    losses = fit(model, batches, prm_work, settings, seed=seed, monitor=monitor, resume=resume)
    answer, reply = predict(model, test, settings.batch_tokens)
    checkpoints.save(model, tokenizer, out)
    rows = [row for example in test for row in example.rows]
    scored = targets.iloc[rows].assign(logit=answer, reply_logit=reply)
    constant = float(learnt_targets(targets)[~targets["held_out"]].mean())
    report = prm_report(
        scored,
        constant=constant,
        train_loss=losses,
        max_loss=max_loss,
        min_ordering=min_ordering,
        rank_by=rank_by,
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


def prm_work(model: PreTrainedModel, shard: int, settings: Prm) -> Work:
    """From (examples, how far training has come) to the terms of their loss."""

    def work(part: tuple[list[Example], float]) -> tuple[Terms, Numbers]:
        examples, progress = part
        return terms_of(read_decisions(model, examples), examples, settings, progress), {}

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
