"""The few numbers by which a person tells one artifact from another."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

HEADLINES = (
    "success_rate",
    "success/*/greedy",
    "* best of 1",
    "episodes",
    "held_out_loss",
    "held_out_constant_loss",
    "weighted_ordering_accuracy",
    "value_last",
    "kl_last",
    "mean_target",
    "train_loss",
    "decisions",
)
"""Names of metrics, the most telling first; `*` stands for anything."""

MOST = 3


def headline(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """At most MOST of an artifact's metrics, by name; those that are no number are left out."""
    known = {name: value for name, value in metrics.items() if value is not None}
    found = (name for pattern in HEADLINES for name in sorted(known) if fnmatchcase(name, pattern))
    return {name: known[name] for name in list(dict.fromkeys(found))[:MOST]}
