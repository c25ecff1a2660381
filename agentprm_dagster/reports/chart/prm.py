"""A picture of a process reward model on held-out games: calibration, ordering, and values over the turns."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from agentprm_dagster.algorithm.calibration import calibration_table
from agentprm_dagster.algorithm.targets import learnt_targets
from agentprm_dagster.reports.chart.figure import WIDEST, new_figure, write
from agentprm_dagster.reports.chart.small import SMALL, Point, draw_small
from agentprm_dagster.reports.prm_curves import ordering_by_distance, value_by_turn
from agentprm_dagster.reports.prm_report import BINS, PICTURE, probability

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_prm(scored: pd.DataFrame, won: Mapping[str, bool], folder: Path) -> None:
    """Writes PICTURE and SMALL of held-out decisions (`reports.prm_report.prm_report`).

    `won` says how the episodes ended whose values are drawn over their turns.
    """
    by_turn = value_by_turn(scored, won)
    figure = new_figure(WIDEST, 3.6)
    calibration, ordering, turns = figure.subplots(1, 3)
    _draw_calibration(calibration, calibration_table(probability(scored["logit"]), learnt_targets(scored), BINS))
    readings = {"after the action": scored, "after the reply": scored.assign(logit=scored["reply_logit"])}
    for name, reading in readings.items():
        _draw_ordering(ordering, ordering_by_distance(reading), name)
    _draw_turns(turns, by_turn)
    write(figure, folder / PICTURE)
    curves = {f"Q where {'won' if ended else 'lost'}": _points(of) for ended, of in by_turn.groupby("won")}
    draw_small(curves, "turn", folder / SMALL)


def _draw_calibration(axis: "Axes", table: pd.DataFrame) -> None:
    axis.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    sizes = 20 + 180 * table["count"] / table["count"].max()
    axis.scatter(table["predicted"], table["observed"], s=sizes, alpha=0.7)
    for row in table.itertuples(index=False):
        axis.annotate(f"{row.count:.0f}", (row.predicted, row.observed), fontsize=7, ha="center", va="center")
    axis.set(title="calibration, decisions in each bin", xlabel="predicted", ylabel="mean target")


def _draw_ordering(axis: "Axes", table: pd.DataFrame, name: str) -> None:
    if not table.empty:
        ends = (table["accuracy"] - table["low"], table["high"] - table["accuracy"])
        axis.errorbar(table["distance"], table["accuracy"], ends, marker="o", capsize=3, label=name)
        axis.legend(frameon=False, fontsize=8)
    axis.axhline(0.5, color="grey", linestyle="--", linewidth=1)
    axis.set(title="pairs ordered as their returns are", xlabel="distance of the two returns", ylabel="share, 95%")


def _draw_turns(axis: "Axes", table: pd.DataFrame) -> None:
    for won, of in table.groupby("won"):
        colour, label = ("C2", "won") if won else ("C3", "lost")
        axis.plot(of["turn"] + 1, of["value"], color=colour, label=f"{label} ({of['episodes'].max()} episodes)")
        axis.fill_between(of["turn"] + 1, of["low"], of["high"], color=colour, alpha=0.15)
    if not table.empty:
        axis.legend(frameon=False, fontsize=8)
    axis.locator_params(axis="x", integer=True)
    axis.set(title="mean Q(s, a) by turn, 95%", xlabel="turn", ylabel="value")


def _points(of: pd.DataFrame) -> list[Point]:
    return [Point(float(turn + 1), value, value, value) for turn, value in zip(of["turn"], of["value"], strict=True)]
