"""What a head over decisions is trained on: token trees with the decisions' targets, and what is read of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import nan
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.prm_loss import Reading, prm_terms, relative_terms
from agentprm_dagster.algorithm.targets import learnt_targets
from agentprm_dagster.algorithm.terms import Items, Terms
from agentprm_dagster.config import Prm
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.training.episode_trees import by_game, families, family_trees
from agentprm_dagster.training.tree_training import batches_in_order, read_heads

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Example:
    """One tree with the targets of its decisions."""

    tree: TokenTree
    ends: list[int]
    replies: list[int] = field(default_factory=list)
    """Where the reply to each decision ends; empty where replies are not read."""
    targets: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """Row of each decision in the targets table."""
    pairs: list[tuple[int, int]] = field(default_factory=list)
    """Different actions tried in one state, as positions in `ends`."""


def prm_examples(
    chat: Chat,
    episodes: Sequence[Episode],
    targets: "pd.DataFrame",
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


def terms_of(reading: Reading, examples: Sequence[Example], settings: Prm, progress: float = 0.0) -> Terms:
    """The terms of the loss (`algorithm.prm_loss`) of what was read in some examples, one after another.

    `progress` says how far training has come, from 0 to 1.
    """
    device = reading.answer.device
    targets = torch.tensor([target for example in examples for target in example.targets], device=device)
    first, second = _pair_index(examples)
    if settings.loss == "relative":
        how = settings.model_dump(include={"margin", "reply_weight"})
        return relative_terms(reading, targets, first, second, **how)
    how = settings.model_dump(include={"pairwise_weight", "reply_weight"})
    return prm_terms(reading, targets, first, second, **how, progress=progress)


def _pair_index(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    first, second, offset = [], [], 0
    for example in examples:
        first += [offset + a for a, _ in example.pairs]
        second += [offset + b for _, b in example.pairs]
        offset += len(example.ends)
    return torch.tensor(first, dtype=torch.long), torch.tensor(second, dtype=torch.long)


def read_decisions(model: PreTrainedModel, examples: Sequence[Example]) -> Reading:
    """The head at every decision's answer and reply, example after example, in float32."""
    ends, replies = [example.ends for example in examples], [example.replies for example in examples]
    answer, reply = read_heads(model, examples, ends, replies)
    return Reading(answer, reply if len(reply) else None)


def loss_terms(model: PreTrainedModel, examples: Sequence[Example], settings: Prm, progress: float) -> Terms:
    """The terms of the examples' loss."""
    return terms_of(read_decisions(model, examples), examples, settings, progress)


def loss_items(examples: Sequence[Example], settings: Prm) -> Items | None:
    """Those of Eq. 2 by itself; which pairs are learnt from is known only when both readings are."""
    if settings.loss == "relative" or settings.pairwise_weight or settings.reply_weight:
        return None
    return {"decisions": sum(len(example.targets) for example in examples)}


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
