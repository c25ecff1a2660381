"""A loss as sums over what it is a mean of: parts of a batch are added up before anything is divided.

The mean of two shards' means is the batch's mean only where both shards hold as many items. So a shard says the sum of
each of its terms and over how many items, and what it is divided by are the items of the whole batch.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch


class Term(NamedTuple):
    """One term of a loss over a part of a batch."""

    total: torch.Tensor
    """The sum over its items, its coefficient included, in nats."""
    items: float
    """How many there are, or how much they weigh together."""


Terms = Mapping[str, Term]
"""By name; the loss is the sum of each term's total over its items in the whole batch."""

Items = dict[str, float]
"""How many items each term has."""

KL = "kl"
"""The term that only holds a model back: it is not worth a step by itself."""


def items_of(terms: Terms) -> Items:
    """The items of each term."""
    return {name: term.items for name, term in terms.items()}


def teach(items: Items) -> bool:
    """Whether there is anything to learn."""
    return any(count for name, count in items.items() if name != KL)


def add_items(parts: Sequence[Items]) -> Items:
    """The items of every term over all parts of a batch."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def loss_of(terms: Terms, items: Mapping[str, float] | None = None) -> torch.Tensor:
    """The loss of a part of a batch whose terms have so many `items` in all; without them the part is all of it.

    A term without any item in the batch adds nothing.
    """
    in_all = items or items_of(terms)
    shares = [term.total / in_all[name] for name, term in terms.items() if in_all[name]]
    return torch.stack(shares).sum() if shares else torch.zeros(())
