"""V_mu(s): what a state is worth to a reference policy mu, learnt from its episodes (section 4 of the paper).

mu is the demonstrator, whose returns gamma^(T-1-t) from every state of every demonstration are learnt by soft binary
cross-entropy, the head being read where a state ends. It is read again in the states of the learner's rollouts.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.shaping import advantage
from agentprm_dagster.algorithm.targets import discounted_outcome
from agentprm_dagster.config import Prm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.launch.device import computing
from agentprm_dagster.launch.job import Job
from agentprm_dagster.reports.reference_value_report import reference_value_report
from agentprm_dagster.section import HeadTraining
from agentprm_dagster.training.episode_trees import families, family_trees
from agentprm_dagster.training.prm_examples import Example, loss_items, loss_terms, read_decisions
from agentprm_dagster.training.saving import save_trained
from agentprm_dagster.training.tree_training import batches_in_order, fit, tokens_in


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
    job: Job,
) -> StageReport:
    """Trains V_mu on games that are not held out, from the backbone of `policy`; reports on those that are.

    `gamma` is the discount of the returns, `max_loss` what the gate allows as a multiple of the constant's loss.
    """
    tokenizer = checkpoints.load_tokenizer(policy)
    chat, model = Chat(tokenizer, wording), checkpoints.prm_from_policy(policy, seed=job.seed)
    train = [states_of(chat, episode, gamma) for episode in demonstrations if episode.game not in held_out]
    test = [states_of(chat, episode, gamma) for episode in demonstrations if episode.game in held_out]
    eq_2, dtype = Prm(**settings.model_dump(), pairwise_weight=0, reply_weight=0), checkpoints.stored_dtype(policy)
    loss = fit(model, train, loss_terms, eq_2, job, items=loss_items, dtype=dtype)
    with computing(model, dtype):
        values = _values(model, test, settings.batch_tokens)
    save_trained(model, tokenizer, out, dtype)
    report = reference_value_report(
        values,
        np.array([each for example in test for each in example.targets]),
        constant=float(np.mean([each for example in train for each in example.targets])),
        train_loss=loss,
        max_loss=max_loss,
    )
    tokens = settings.epochs * tokens_in(train) + tokens_in(test)
    return replace(report, metrics={**report.metrics, "tokens": tokens})


def states_of(chat: Chat, episode: Episode, gamma: float) -> Example:
    """The state before every turn of a whole episode, with the return from there."""
    (scored,) = family_trees(chat, [episode], "append", branch_turns=1)
    last = len(episode.turns) - 1
    returns = [discounted_outcome(episode.reward, t, last, gamma) for _, t in scored.decisions]
    return Example(scored.tree, scored.states, targets=returns)


@torch.no_grad()
def _values(model: PreTrainedModel, examples: Sequence[Example], budget: int) -> np.ndarray:
    """V_mu in [0, 1] in all states (S,), in the examples' order."""
    model.eval()
    logits = (read_decisions(model, batch).answer for batch in batches_in_order(examples, budget))
    return np.concatenate([np.zeros(0), *(each.sigmoid().cpu().numpy() for each in logits)])


def values_behind(
    prm: Path, episodes: Sequence[Episode], targets: pd.DataFrame, wording: Wording, *, batch_tokens: int
) -> np.ndarray:
    """V(s') that a PRM says behind the decision of every row of the targets table (D,), in [0, 1].

    Of continuations that are the same one is read, and what it says is taken for the others.
    """
    model, chat = checkpoints.load_prm(prm), Chat(checkpoints.load_tokenizer(prm), wording)
    use_grouped_attention(model)
    longest = max((len(episode.turns) for episode in episodes), default=1)
    scored = [
        one for family in families(episodes) for one in family_trees(chat, family, "append", branch_turns=longest)
    ]
    values = _values(model, [Example(one.tree, one.replies) for one in scored], batch_tokens)
    decisions = [decision for one in scored for decision in one.decisions]
    read = dict(zip(decisions, values.tolist(), strict=True))
    rows = zip(targets["episode_id"], targets["turn"], strict=True)
    said = targets.assign(said=[read.get(row, np.nan) for row in rows])
    alike = said.groupby(["state", "action"], sort=False)["said"].transform("mean")
    return said["said"].fillna(alike).to_numpy()


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
    examples = [Example(one.tree, [*one.states, *one.replies]) for one in scored]
    values = _values(model, examples, batch_tokens)
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
