"""Pictures of an experiment: success with 95% intervals over iterations, and over the N of Best-of-N; what was seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agentprm_dagster.core.coverage import Coverage
from agentprm_dagster.core.evaluation import choice_name
from agentprm_dagster.core.results import Row, in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 200
"""Points of a curve that has one for every decision."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Writes the picture as PNG; the same rows give the same bytes."""
    from matplotlib.figure import Figure  # a second to import; without pyplot there is no window and no global state

    splits = sorted({row["split"] for row in rows})
    figure = Figure(figsize=(5 * len(splits), 4), layout="constrained")
    axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for split, axis in zip(splits, axes, strict=True):
        for row in rows:
            if row["iteration"] is None and row["split"] == split:
                _draw_level(axis, row)
        iterations = [row for row in rows if row["iteration"] is not None]
        for best_of, choice in sorted({(row["best_of"], choice_name(row)) for row in iterations}):
            line = [row for row in in_order(iterations) if (row["split"], choice_name(row)) == (split, choice)]
            _draw_line(axis, "iteration", line, choice if best_of > 1 else "greedy")
        axis.set(title=split, xlabel="iteration", ylim=(0, 1))
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("success, 95% interval")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def draw_scaling(rows: Sequence[Row], path: Path) -> None:
    """Success over N of every policy and judge, greedy standing at N = 1, nothing imagined, for every split; PNG."""
    from matplotlib.figure import Figure

    splits = sorted({row["split"] for row in rows})
    figure = Figure(figsize=(5 * len(splits), 4), layout="constrained")
    axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for split, axis in zip(splits, axes, strict=True):
        of_split = [row for row in in_order(rows) if row["split"] == split and row["imagined"] is None]
        for policy, ranked_by in sorted({(row["policy"], row["ranked_by"]) for row in of_split if row["ranked_by"]}):
            line = [row for row in of_split if row["policy"] == policy and row["ranked_by"] in (None, ranked_by)]
            _draw_line(axis, "best_of", line, f"{policy} by {ranked_by}")
        axis.set(title=split, xlabel="N")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:.0f}")
    axes[0].set_ylabel("success, 95% interval")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def draw_panel(history: Sequence[Mapping[str, float | None]], path: Path) -> None:
    """What the panel measured (`core.overoptimization.Measurement`) over the steps of policy improvement; PNG."""
    from matplotlib.figure import Figure

    shown = ("success", "value", "kl", "validity", "calibration", "disagreement")
    measured = [name for name in shown if history[0][name] is not None]
    figure = Figure(figsize=(3.2 * len(measured), 3), layout="constrained")
    axes = figure.subplots(1, len(measured), squeeze=False)[0]
    for name, axis in zip(measured, axes, strict=True):
        axis.plot([each["step"] for each in history], [each[name] for each in history], marker="o")
        axis.set(title=name, xlabel="step")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw_level(axis: "Axes", row: Row) -> None:
    """A policy that no iteration made, with its interval."""
    axis.axhline(row["success_rate"], color="grey", linestyle="--", label=row["policy"])
    axis.axhspan(row["ci_low"], row["ci_high"], color="grey", alpha=0.15)


def draw_coverage(coverage: Coverage, path: Path) -> None:
    """Distinct states over decisions for every kind of episode (`core.coverage`); PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axis = figure.subplots()
    for kind, seen in coverage.seen.items():
        shown = np.unique(np.linspace(0, len(seen) - 1, _POINTS).astype(int))
        axis.plot(shown + 1, seen[shown], label=kind)
    axis.set(xlabel="decisions", ylabel="distinct states")
    axis.locator_params(axis="x", nbins=5)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw_line(axis: "Axes", over: str, line: Sequence[Row], label: str) -> None:
    rates = [row["success_rate"] for row in line]
    below = [row["success_rate"] - row["ci_low"] for row in line]
    above = [row["ci_high"] - row["success_rate"] for row in line]
    axis.errorbar([row[over] for row in line], rates, (below, above), marker="o", capsize=3, label=label)
