"""Advantages within groups: what a return is worth beside others of the same group, without any model of values.

    A = (R - mean R) / (std R + EPSILON)

The mean and the standard deviation (with n - 1) are those of the group: GRPO (arXiv 2402.03300, section 4.1.2), with
EPSILON as in TRL. Without the division it is what "Dr. GRPO" (arXiv 2503.20783) leaves of it.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from statistics import fmean, stdev
from typing import Literal

Normalise = Literal["std", "none"]

EPSILON = 1e-4


def group_advantages(returns: Sequence[float], groups: Sequence[Hashable], normalise: Normalise = "std") -> list[float]:
    """The advantage of every return; `groups` says which group each belongs to.

    A group of one, or of equal returns, tells nothing: its advantages are exactly 0.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    advantages = [0.0] * len(returns)
    for places in members.values():
        known = [returns[i] for i in places]
        if min(known) < max(known):
            mean, scale = fmean(known), stdev(known) + EPSILON if normalise == "std" else 1.0
            for i in places:
                advantages[i] = (returns[i] - mean) / scale
    return advantages
