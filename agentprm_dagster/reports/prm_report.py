"""How good a process reward model is on games it was not trained on.

Loss against the constant predictor says whether it knows anything; calibration whether its numbers mean what they say;
and the ordering of several actions tried in one state whether a policy can learn from it.
"""

from collections.abc import Mapping
from math import log, nan
from typing import Literal

import numpy as np
import pandas as pd

from agentprm_dagster.algorithm.calibration import calibration_error, calibration_table, correlation, soft_bce
from agentprm_dagster.algorithm.statistics import wilson_interval
from agentprm_dagster.algorithm.targets import learnt_targets
from agentprm_dagster.episodes.stage import Gate, StageReport

PICTURE = "prm.png"
"""The file beside a checkpoint that `reports.chart.prm` draws."""

BINS = 10
"""Of the prediction, in which calibration is told."""


def prm_report(
    scored: pd.DataFrame,
    *,
    constant: float,
    train_loss: float,
    max_loss: float,
    min_ordering: float,
    rank_by: Literal["answer", "reply"] = "answer",
    relative_margin: float | None = None,
) -> StageReport:
    """Judges held-out decisions: the columns of the targets table, `logit` and `reply_logit` (nan where not read).

    Loss and calibration are those of what was learnt, shaped or not; actions are ordered by their returns. `constant`
    is the mean target, `max_loss` a multiple of its loss; `min_ordering` is what the lower end of the 95% interval of
    the weighted ordering accuracy must reach (0: any will do), read where candidates are ranked (`rank_by`). Where only
    the order of actions was learnt, `relative_margin` is the least distance of the targets that it was learnt from, and
    the loss is that of pairs.
    """
    learnt = learnt_targets(scored)

    def loss_of(judged: pd.DataFrame) -> float:
        if relative_margin is None:
            return soft_bce(learnt, probability(judged["logit"]))
        return pair_loss(judged, learnt, relative_margin)

    loss, ordering = loss_of(scored), action_ordering(scored)
    baseline, knows_nothing = log(2), "a coin"
    if relative_margin is None:
        baseline = soft_bce(learnt, pd.Series(constant, index=scored.index))
        knows_nothing = f"always saying {constant:.3f}"
    metrics = {
        "train_loss": train_loss,
        "held_out_loss": loss,
        "held_out_constant_loss": baseline,
        "held_out_decisions": len(scored),
        "held_out_states": scored["state"].nunique(),
        "held_out_states_with_pair": states_with_pair(scored, learnt, relative_margin or 0),
        "correlation": correlation(probability(scored["logit"]), learnt),
        "calibration_error": calibration_error(probability(scored["logit"]), learnt),
        **ordering,
    }
    if scored["reply_logit"].notna().all():
        reply_scored = scored.assign(logit=scored["reply_logit"])
        reply = action_ordering(reply_scored)
        metrics |= {f"reply_{name}": value for name, value in reply.items() if name != "ordered_pairs"}
        metrics["reply_held_out_loss"] = loss_of(reply_scored)
        ordering = reply if rank_by == "reply" else ordering
    pairs, accuracy = int(ordering["ordered_pairs"]), ordering["weighted_ordering_accuracy"]
    low, high = ordering["weighted_ordering_ci_low"], ordering["weighted_ordering_ci_high"]
    gates = (
        Gate(
            "better_than_constant",
            loss < max_loss * baseline,
            f"held-out loss {loss:.4f}; expected less than {max_loss:g} times {baseline:.4f}, the loss of "
            f"{knows_nothing}: collect more rollouts, or train with a lower rate",
            loss,
        ),
        Gate(
            "orders_actions",
            pairs == 0 or low >= min_ordering,
            f"of {pairs} held-out pairs of actions tried in one state, weighted by how far their returns are apart, "
            f"{accuracy:.1%} (95% interval {low:.1%} to {high:.1%}) are ordered as their returns are; expected an "
            f"interval above {min_ordering:.1%}: roll out more branches or train longer",
            low,
        ),
    )
    words = _in_words(metrics, knows_nothing)
    return StageReport(metrics, gates, words + _preview(probability(scored["logit"]), learnt, metrics))


def probability(logit: pd.Series) -> pd.Series:
    """What a head's logits (D,) say, in [0, 1]."""
    return 1 / (1 + np.exp(-logit))


def action_ordering(scored: pd.DataFrame) -> dict[str, float]:
    """On states with several tried actions: pairs with different returns, the share ordered alike, the gap in logits.

    `ordering_gap` is the mean of logit(better) - logit(worse); chance is an accuracy of 0.5 and a gap of 0. Two actions
    that both win, one a turn later, are a pair like a win and a loss are: the weighted accuracy counts every pair by
    the distance of its returns, as what it costs a policy to take the worse one. The 95% intervals take the pairs as
    independent, which those of one state are not quite: the true ones are somewhat wider. Without a pair they are
    [0, 1].
    """
    gap, distance = pairs_of(scored, scored["q"])
    right = np.where(np.isnan(gap), nan, (gap > 0) + 0.5 * (gap == 0))
    return {
        "ordered_pairs": float(len(gap)),
        **_accuracy("ordering", right, np.ones(len(gap))),
        **_accuracy("weighted_ordering", right, distance),
        "ordering_gap": float(gap.mean()) if len(gap) else 0.0,
    }


def pair_loss(scored: pd.DataFrame, targets: pd.Series, margin: float) -> float:
    """Bradley-Terry loss, in nats, of the pairs whose targets (D,) differ, by at least `margin`; log 2 without any."""
    gap, distance = pairs_of(scored, targets)
    far = distance >= margin
    return float(np.logaddexp(0, -gap[far]).mean()) if far.any() else log(2)


def states_with_pair(scored: pd.DataFrame, targets: pd.Series, margin: float) -> int:
    """States where two actions were tried whose targets (D,) differ, by at least `margin`."""
    spread = targets.groupby(scored["state"]).agg(np.ptp)
    return int(((spread > 0) & (spread >= margin)).sum())


def pairs_of(scored: pd.DataFrame, targets: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Of actions tried in one state whose targets (D,) differ: logit and target of the better minus those of the worse,
    (P,) each.
    """
    tried = scored.assign(target=targets).drop_duplicates(["state", "action"])
    gaps, distances = [np.zeros(0)], [np.zeros(0)]
    for _, group in tried.groupby("state"):
        target, logit = group["target"].to_numpy(), group["logit"].to_numpy()
        better, worse = np.nonzero(target[:, None] > target[None, :])
        gaps.append(logit[better] - logit[worse])
        distances.append(target[better] - target[worse])
    return np.concatenate(gaps), np.concatenate(distances)


def _accuracy(name: str, right: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """The weighted mean of `right` and its 95% interval, for as many equal weights as these are worth (Kish, 1965)."""
    if not len(right):
        return {f"{name}_accuracy": 0.5, f"{name}_ci_low": 0.0, f"{name}_ci_high": 1.0}
    accuracy = float((weight * right).sum() / weight.sum())
    effective_pairs = max(float(weight.sum() ** 2 / (weight**2).sum()), 1.0)
    low, high = wilson_interval(accuracy * effective_pairs, effective_pairs)
    return {f"{name}_accuracy": accuracy, f"{name}_ci_low": low, f"{name}_ci_high": high}


def _in_words(metrics: Mapping[str, float], knows_nothing: str) -> str:
    """The first thing to know: what it orders, and how its loss compares with knowing nothing."""
    pairs = int(metrics["ordered_pairs"])
    lines = [
        f"Orders **{_share(metrics, 'ordering')}** of {pairs:,} held-out pairs as their returns are.",
        f"Where pairs count by how far their returns are apart: {_share(metrics, 'weighted_ordering')}.",
    ]
    if "reply_ordering_accuracy" in metrics:
        lines.append(f"Read after the reply: **{_share(metrics, 'reply_ordering')}**.")
    if not pairs:
        lines = ["No held-out state has two actions with different returns: nothing to order."]
    lines.append(
        f"Held-out loss **{metrics['held_out_loss']:.3f}**, against {metrics['held_out_constant_loss']:.3f} of "
        f"{knows_nothing}."
    )
    return "\n".join(f"- {line}" for line in lines) + "\n\n"


def _share(metrics: Mapping[str, float], name: str) -> str:
    accuracy, low, high = (metrics[f"{name}_{what}"] for what in ("accuracy", "ci_low", "ci_high"))
    return f"{accuracy:.1%} ({low:.1%} to {high:.1%})"


def _preview(probability: pd.Series, target: pd.Series, metrics: Mapping[str, float]) -> str:
    numbers = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    bins = "\n".join(
        f"| {row.predicted:.3f} | {row.observed:.3f} | {row.count:.0f} |"
        for row in calibration_table(probability, target, BINS).itertuples(index=False)
    )
    return (
        f"![calibration, ordering, and values by turn]({PICTURE})\n\n"
        f"| predicted | observed | decisions |\n|---|---|---|\n{bins}\n\n"
        f"| held out | |\n|---|---|\n{numbers}\n"
    )
