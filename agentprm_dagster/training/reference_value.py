"""V_mu(s): what a state is worth to a reference policy mu, learnt from its episodes (section 4 of the paper).

mu is the demonstrator, whose returns gamma^(T-1-t) from every state of every demonstration are learnt by soft binary
cross-entropy, the head being read where a state ends. It is read again in the states of the learner's rollouts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.shaping import advantage
from agentprm_dagster.algorithm.targets import discounted_outcome
from agentprm_dagster.algorithm.terms import Term, Terms
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.launch.shards import Numbers, Work, shards_of
from agentprm_dagster.reports.reference_value_report import reference_value_report
from agentprm_dagster.section import HeadTraining
from agentprm_dagster.training.episode_trees import families, family_trees
from agentprm_dagster.training.tree_training import batches_in_order, fit, read_heads, token_budget_batches, tokens_in


@dataclass(frozen=True, slots=True)
class States:
    """One tree with where some states end, and what they were worth (nothing, where that is to be read)."""

    tree: TokenTree
    places: list[int]
    returns: list[float]


def train_reference_value(
    policy: Path,
    demonstrations: Sequence[Episode],
    wording: Wording,
    settings: HeadTraining,
    out: Path,
    *,
    gamma: float,
    max_loss: float,
    held_out: Collection[str],
    seed: int,
    monitor: Monitor,
    resume: Resume | None = None,
) -> StageReport:
    """Trains V_mu on games that are not held out, from the trunk of `policy`; reports on those that are.

    `gamma` is the discount of the returns, `max_loss` what the gate allows as a multiple of the constant's loss.
    """
    tokenizer = checkpoints.load_tokenizer(policy)
    chat, model = Chat(tokenizer, wording), checkpoints.prm_from_policy(policy, seed=seed)
    use_grouped_attention(model)
    use_lean_layers(model)
    train = [states_of(chat, episode, gamma) for episode in demonstrations if episode.game not in held_out]
    test = [states_of(chat, episode, gamma) for episode in demonstrations if episode.game in held_out]
    batches = token_budget_batches(train, settings.batch_tokens // shards_of(model), seed)
    loss = fit(model, batches, value_work, settings, seed=seed, monitor=monitor, resume=resume)
    values = predict_values(model, test, settings.batch_tokens)
    checkpoints.save(model, tokenizer, out)
    report = reference_value_report(
        values,
        np.array([each for example in test for each in example.returns]),
        constant=float(np.mean([each for example in train for each in example.returns])),
        train_loss=loss,
        max_loss=max_loss,
    )
    tokens = settings.epochs * tokens_in(train) + tokens_in(test)
    return replace(report, metrics={**report.metrics, "tokens": tokens})


def states_of(chat: Chat, episode: Episode, gamma: float) -> States:
    """The state before every turn of a whole episode, with the return from there."""
    (scored,) = family_trees(chat, [episode], "append", branch_turns=1)
    last = len(episode.turns) - 1
    returns = [discounted_outcome(episode.reward, t, last, gamma) for _, t in scored.decisions]
    return States(scored.tree, scored.states, returns)


def value_work(model: PreTrainedModel, shard: int, settings: HeadTraining) -> Work:
    """From (examples, how far training has come) to the term of their loss."""

    def work(part: tuple[list[States], float]) -> tuple[Terms, Numbers]:
        examples, _ = part
        (logits,) = read_heads(model, [each.tree for each in examples], [each.places for each in examples])
        returns = logits.new_tensor([r for each in examples for r in each.returns])
        return {"states": Term(binary_cross_entropy_with_logits(logits, returns, reduction="sum"), len(returns))}, {}

    return work


@torch.no_grad()
def predict_values(model: PreTrainedModel, examples: Sequence[States], budget: int) -> np.ndarray:
    """V_mu in [0, 1] at all places (S,), in the examples' order."""
    model.eval()
    values = [np.zeros(0)]
    for batch in batches_in_order(examples, budget):
        (logits,) = read_heads(model, [each.tree for each in batch], [each.places for each in batch])
        values.append(logits.sigmoid().cpu().numpy())
    return np.concatenate(values)


def reference_advantages(
    reference: Path,
    episodes: Sequence[Episode],
    targets: pd.DataFrame,
    wording: Wording,
    *,
    gamma: float,
    batch_tokens: int,
) -> np.ndarray:
    """A_mu of the decision of every row of the targets table (D,), nan for one that only repeats another's episode."""
    model, chat = checkpoints.load_prm(reference), Chat(checkpoints.load_tokenizer(reference), wording)
    use_grouped_attention(model)
    longest = max((len(episode.turns) for episode in episodes), default=1)
    scored = [
        one for family in families(episodes) for one in family_trees(chat, family, "append", branch_turns=longest)
    ]
    examples = [States(one.tree, [*one.states, *one.replies], []) for one in scored]
    values = predict_values(model, examples, batch_tokens)
    outcomes = {(each.episode_id, len(each.turns) - 1): each.reward for each in episodes if not each.truncated}
    read: dict[tuple[str, int], float] = {}
    for one in scored:
        count = len(one.decisions)
        before, after, values = values[:count], values[count : 2 * count], values[2 * count :]
        outcome = np.array([outcomes.get(decision, np.nan) for decision in one.decisions])
        gained = advantage(before, after, outcome, gamma)
        read.update(zip(one.decisions, gained.tolist(), strict=True))
    rows = zip(targets["episode_id"], targets["turn"], strict=True)
    return np.array([read.get(row, np.nan) for row in rows])
