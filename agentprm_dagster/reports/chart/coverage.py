"""A picture of what rollouts have seen."""

from pathlib import Path

import numpy as np

from agentprm_dagster.reports.chart.figure import new_figure, write
from agentprm_dagster.rollouts.coverage import Coverage

_POINTS = 200
"""Points of a curve that has one for every decision."""


def draw_coverage(coverage: Coverage, path: Path) -> None:
    """Distinct states over decisions for every kind of episode (`rollouts.coverage`); PNG."""
    figure = new_figure(5, 4)
    axis = figure.subplots()
    for kind, seen in coverage.seen.items():
        drawn = np.unique(np.linspace(0, len(seen) - 1, _POINTS).astype(int))
        axis.plot(drawn + 1, seen[drawn], label=kind)
    axis.set(xlabel="decisions", ylabel="distinct states")
    axis.locator_params(axis="x", nbins=5)
    axis.legend(frameon=False)
    write(figure, path)
