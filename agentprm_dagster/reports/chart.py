"""Pictures of an experiment: success with 95% intervals over iterations, and over the N of Best-of-N; what was seen."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentprm_dagster.reports.evaluation import choice_name
from agentprm_dagster.reports.results import Row, in_order
from agentprm_dagster.rollouts.coverage import Coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 200
"""Points of a curve that has one for every decision."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Success over iterations: greedy, and of every way to choose the one with the most answers to choose from; PNG.

    The same rows give the same bytes.
    """
    figure, axes = _a_split_each(rows)
    iterations = [row for row in rows if row["iteration"] is not None]
    most = {_judged(row): row["best_of"] for row in sorted(iterations, key=itemgetter("best_of"))}
    choices = sorted({(row["best_of"], choice_name(row)) for row in iterations if row["best_of"] == most[_judged(row)]})
    for split, axis in axes.items():
        for row in rows:
            if row["iteration"] is None and row["split"] == split:
                _draw_level(axis, row)
        for best_of, choice in choices:
            line = [row for row in in_order(iterations) if (row["split"], choice_name(row)) == (split, choice)]
            _draw_line(axis, "iteration", line, choice if best_of > 1 else "greedy")
        axis.set(xlabel="iteration", ylim=(0, 1))
        axis.locator_params(axis="x", integer=True)
    _write(figure, axes, path)


def draw_scaling(rows: Sequence[Row], path: Path) -> None:
    """Success over N of every policy and judge, greedy standing at N = 1, nothing predicted, for every split; PNG.

    A policy's lines have one colour; what needs no reward model is dashed.
    """
    figure, axes = _a_split_each(rows)
    for split, axis in axes.items():
        of_split = [row for row in in_order(rows) if row["split"] == split and row["world"] is None]
        lines = sorted({(row["policy"], row["ranked_by"]) for row in of_split if row["ranked_by"]})
        policies = sorted({policy for policy, _ in lines})
        for i, (policy, judge) in enumerate(lines):
            line = [row for row in of_split if row["policy"] == policy and row["ranked_by"] in (None, judge)]
            style = {"color": f"C{policies.index(policy)}", "linestyle": "--" if judge == "log_ratio" else "-"}
            # Beside each other, so that their intervals can be told apart.
            _draw_line(axis, "best_of", line, f"{policy} by {judge}", stretch=1.03**i, **style)
        axis.set(xlabel="N", xscale="log")
        answers = sorted({row["best_of"] for row in of_split})
        axis.set_xticks(answers, list(map(str, answers)))
        axis.minorticks_off()
    _write(figure, axes, path)


def _judged(row: Row) -> tuple[object, ...]:
    """How a row's answers were chosen, but for how many there were."""
    return row["ranked_by"], row["world"], row["horizon"]


def _a_split_each(rows: Sequence[Row]) -> tuple["Figure", dict[str, "Axes"]]:
    """A figure with axes for every split."""
    from matplotlib.figure import Figure  # a second to import; without pyplot there is no window and no global state

    splits = sorted({row["split"] for row in rows})
    figure = Figure(figsize=(5 * len(splits) + 2, 4), layout="constrained")
    axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for split, axis in zip(splits, axes, strict=True):
        axis.set_title(split)
    return figure, dict(zip(splits, axes, strict=True))


def _write(figure: "Figure", axes: Mapping[str, "Axes"], path: Path) -> None:
    """Writes it with one legend beside it."""
    first = next(iter(axes.values()))
    first.set_ylabel("success, 95% interval")
    figure.legend(*first.get_legend_handles_labels(), frameon=False, loc="outside right upper")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def draw_panel(history: Sequence[Mapping[str, float | None]], path: Path) -> None:
    """What the panel measured (`reports.overoptimization.Measurement`) over the steps of policy improvement; PNG."""
    from matplotlib.figure import Figure

    signals = ("success", "value", "kl", "validity", "calibration", "disagreement")
    measured = [name for name in signals if history[0][name] is not None]
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
    """Distinct states over decisions for every kind of episode (`rollouts.coverage`); PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axis = figure.subplots()
    for kind, seen in coverage.seen.items():
        drawn = np.unique(np.linspace(0, len(seen) - 1, _POINTS).astype(int))
        axis.plot(drawn + 1, seen[drawn], label=kind)
    axis.set(xlabel="decisions", ylabel="distinct states")
    axis.locator_params(axis="x", nbins=5)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw_line(axis: "Axes", over: str, line: Sequence[Row], label: str, *, stretch: float = 1.0, **style: Any) -> None:
    """Rates with their intervals, at `stretch` times what they stand over."""
    rates = [row["success_rate"] for row in line]
    below = [row["success_rate"] - row["ci_low"] for row in line]
    above = [row["ci_high"] - row["success_rate"] for row in line]
    at = [stretch * row[over] for row in line]
    axis.errorbar(at, rates, (below, above), marker="o", capsize=3, label=label, **style)
