"""Pictures of success with 95% intervals: over iterations and seeds, and over the N of Best-of-N."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentprm_dagster.reports.chart.figure import WIDEST, new_figure, write
from agentprm_dagster.reports.chart.small import SMALL, Point, draw_small
from agentprm_dagster.reports.evaluation import choice_name
from agentprm_dagster.reports.results import Row, in_order, policy_name
from agentprm_dagster.reports.seeds import SeedRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(rows: Sequence[Row], path: Path, seeds: Sequence[SeedRow] = ()) -> None:
    """Success over iterations: greedy, and of every way to choose the one with the most answers to choose from; PNG.

    Where several seeds were run, the mean of greedy over them stands beside it. The same rows give the same bytes.
    """
    figure, axes = _a_split_each(rows)
    iterations = [row for row in rows if row["iteration"] is not None]
    most = {_judged(row): row["best_of"] for row in sorted(iterations, key=itemgetter("best_of"))}
    choices = sorted({(row["best_of"], choice_name(row)) for row in iterations if row["best_of"] == most[_judged(row)]})
    for split, axis in axes.items():
        for row in rows:
            if row["iteration"] is None and row["split"] == split:
                _draw_level(axis, row)
        for place, (best_of, choice) in enumerate(choices):
            line = [row for row in in_order(iterations) if (row["split"], choice_name(row)) == (split, choice)]
            # Beside each other, so that their intervals can be told apart.
            _draw_line(axis, "iteration", line, choice if best_of > 1 else "greedy", shift=0.04 * place)
        greedy = [row for row in in_order(iterations) if row["split"] == split and row["ranked_by"] is None]
        _draw_seeds(axis, greedy, seeds)
        axis.set(xlabel="iteration")
        axis.locator_params(axis="x", integer=True)
    _write(figure, axes, path)


def draw_curves(rows: Sequence[Row], folder: Path) -> None:
    """Writes SMALL: greedy success over iterations, of every split."""
    greedy = [row for row in in_order(rows) if row["iteration"] is not None and row["ranked_by"] is None]
    splits = dict.fromkeys(row["split"] for row in greedy)
    curves = {split: [_point(row) for row in greedy if row["split"] == split] for split in splits}
    draw_small(curves, "success over iterations", folder / SMALL)


def _point(row: Row) -> Point:
    return Point(row["iteration"], row["success_rate"], row["ci_low"], row["ci_high"])


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
            style: dict[str, Any] = {
                "color": f"C{policies.index(policy)}",
                "linestyle": "--" if judge == "log_ratio" else "-",
            }
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
    splits = sorted({row["split"] for row in rows})
    figure = new_figure(WIDEST / 2 * max(len(splits), 1.4), 4.5)
    axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for split, axis in zip(splits, axes, strict=True):
        axis.set_title(split)
    return figure, dict(zip(splits, axes, strict=True))


def _write(figure: "Figure", axes: Mapping[str, "Axes"], path: Path) -> None:
    """Writes it with one legend below all axes, and says where the y axis begins: it is fitted to what is drawn."""
    from matplotlib.ticker import PercentFormatter

    first = next(iter(axes.values()))
    first.yaxis.set_major_formatter(PercentFormatter(1))
    begins = max(first.get_ylim()[0], 0.0)
    first.set_ylim(begins, min(first.get_ylim()[1], 1.02))
    where = f"axis begins at {begins:.0%}" if begins else "axis begins at 0"
    first.set_ylabel(f"success, 95% interval ({where})")
    figure.legend(*first.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    write(figure, path)


def _draw_level(axis: "Axes", row: Row) -> None:
    """A policy that no iteration made, with its interval."""
    axis.axhline(row["success_rate"], color="grey", linestyle="--", label=row["policy"])
    axis.axhspan(row["ci_low"], row["ci_high"], color="grey", alpha=0.15)


def _draw_line(
    axis: "Axes", over: str, line: Sequence[Row], label: str, *, stretch: float = 1.0, shift: float = 0.0, **style: Any
) -> None:
    """Rates with their intervals, at `stretch` times what they stand over and `shift` to its right."""
    rates = [row["success_rate"] for row in line]
    below = [row["success_rate"] - row["ci_low"] for row in line]
    above = [row["ci_high"] - row["success_rate"] for row in line]
    at = [stretch * row[over] + shift for row in line]
    axis.errorbar(at, rates, (below, above), marker="o", capsize=3, label=label, **style)


def _draw_seeds(axis: "Axes", greedy: Sequence[Row], seeds: Sequence[SeedRow]) -> None:
    """The mean over seeds of a split's greedy policies, and as a band its interval; nothing of a single seed."""
    known = {(line.split, line.policy): line for line in seeds}
    lines = [(row["iteration"], known[key]) for row in greedy if (key := (row["split"], policy_name(row))) in known]
    if not lines:
        return
    at, means = [i for i, _ in lines], [line.success.mean for _, line in lines]
    low, high = [max(line.success.low, 0.0) for _, line in lines], [min(line.success.high, 1.0) for _, line in lines]
    count = max(len(line.seeds) for _, line in lines)
    axis.plot(at, means, color="black", linewidth=2, label=f"greedy, mean of {count} seeds, 95% over seeds")
    axis.fill_between(at, low, high, color="black", alpha=0.12)
