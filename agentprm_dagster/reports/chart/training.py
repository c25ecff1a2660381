"""Pictures of policy improvement: its numbers at every step, and what a panel measured on the way."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agentprm_dagster.reports.chart.figure import WIDEST, new_figure, write
from agentprm_dagster.reports.chart.small import SMALL, Point, draw_small
from agentprm_dagster.reports.improvement_report import PICTURE

CURVES = {
    "loss": "loss",
    "value": "PRM's value of the answers",
    "kl": "KL from pi_(i-1), nats an answer",
    "gap": "margin: gap of a pair",
    "margin": "margin of the log-ratios, nats",
    "clipped": "share of tokens that are clipped",
    "pair_accuracy": "share of pairs in order",
}
"""The numbers of a step that are drawn, and what is written above them."""

_WINDOWS = 20
"""A curve is smoothed over this part of its steps."""


def draw_training(history: Sequence[Mapping[str, float]], folder: Path) -> None:
    """Writes PICTURE, the numbers of every step, pale, and their mean over the steps around; and SMALL, the value, or
    the loss where no PRM is asked.
    """
    measured = [name for name in CURVES if any(name in step for step in history)]
    figure = new_figure(WIDEST, 2.8)
    axes = figure.subplots(1, len(measured), squeeze=False)[0]
    for name, axis in zip(measured, axes, strict=True):
        steps, values = zip(*((i + 1, each[name]) for i, each in enumerate(history) if name in each), strict=True)
        axis.plot(steps, values, color="C0", alpha=0.3)
        axis.plot(steps, smooth(values, max(len(history) // _WINDOWS, 1)), color="C0")
        axis.set_title(CURVES[name], fontsize=8)
        axis.set_xlabel("step")
        axis.locator_params(axis="x", nbins=4, integer=True)
        axis.ticklabel_format(useOffset=False)
        axis.tick_params(labelsize=7)
    write(figure, folder / PICTURE)
    name, words = ("value", "PRM's value") if "value" in measured else ("loss", "loss")
    values = smooth([each[name] for each in history], max(len(history) // _WINDOWS, 1)).tolist()
    points = [Point(i + 1, value, value, value) for i, value in enumerate(values)]
    draw_small({words: points}, "step", folder / SMALL)


def smooth(values: Sequence[float], reach: int) -> np.ndarray:
    """Each value's mean (N,) with up to `reach` values on either side of it."""
    summed = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, after = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    return np.asarray((summed[after] - summed[first]) / (after - first))


def draw_panel(history: Sequence[Mapping[str, float | None]], path: Path) -> None:
    """What the panel measured (`reports.overoptimization.Measurement`) over the steps of policy improvement; PNG."""
    signals = ("success", "value", "kl", "validity", "calibration", "disagreement")
    measured = [name for name in signals if history[0][name] is not None]
    figure = new_figure(WIDEST, 2.8)
    axes = figure.subplots(1, len(measured), squeeze=False)[0]
    for name, axis in zip(measured, axes, strict=True):
        axis.plot([each["step"] for each in history], [each[name] for each in history], marker="o", markersize=3)
        axis.set(title=name, xlabel="step")
        axis.tick_params(labelsize=7)
    write(figure, path)
