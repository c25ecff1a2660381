"""What a process reward model is trained on: token trees with the targets of their decisions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentprm_dagster.algorithm.prm_loss import Reading, prm_terms, relative_terms
from agentprm_dagster.algorithm.terms import Terms
from agentprm_dagster.config import Prm
from agentprm_dagster.engine.embedded.token_tree import TokenTree


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
