"""One picture of an experiment: success over iterations with 95% intervals, greedy and Best-of-N, for every split."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentprm_dagster.core.results import Row, in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(rows: Sequence[Row], path: Path) -> None:
    """Writes the picture as PNG; the same rows give the same bytes."""
    from matplotlib.figure import Figure  # a second to import; without pyplot there is no window and no global state

    splits = sorted({row["split"] for row in rows})
    figure = Figure(figsize=(5 * len(splits), 4), layout="constrained")
    axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for split, axis in zip(splits, axes, strict=True):
        for best_of in sorted({row["best_of"] for row in rows}):
            line = [row for row in in_order(rows) if row["split"] == split and row["best_of"] == best_of]
            _draw_line(axis, line, "greedy" if best_of == 1 else f"best of {best_of}")
        axis.set(title=split, xlabel="iteration", ylim=(0, 1))
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("success, 95% interval")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw_line(axis: "Axes", line: Sequence[Row], label: str) -> None:
    rates = [row["success_rate"] for row in line]
    below = [row["success_rate"] - row["ci_low"] for row in line]
    above = [row["ci_high"] - row["success_rate"] for row in line]
    axis.errorbar([row["iteration"] for row in line], rates, (below, above), marker="o", capsize=3, label=label)
