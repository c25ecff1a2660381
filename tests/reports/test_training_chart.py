"""The curves of policy improvement: every step's numbers, and their means."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.reports.chart import training as chart
from agentprm_dagster.reports.chart.small import SMALL
from agentprm_dagster.reports.chart.training import draw_training, smooth
from agentprm_dagster.reports.improvement_report import PICTURE

HISTORY = [
    {"value": 0.5, "kl": 0.0, "pairs": 0.0},
    {"value": 0.6, "kl": 0.1, "pairs": 2.0, "loss": 0.7, "gap": 0.3},
    {"value": 0.8, "kl": 0.3, "pairs": 2.0, "loss": 0.6, "gap": 0.2},
]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.integers(0, 10))
def test_smoothing_is_the_mean_of_the_values_around(values: list[float], reach: int) -> None:
    expected = [np.mean(values[max(i - reach, 0) : i + reach + 1]) for i in range(len(values))]
    assert smooth(values, reach).tolist() == pytest.approx(expected, abs=1e-9)


def test_the_lines_are_the_steps_that_had_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(chart, "write", lambda figure, path: figures.append(figure))
    draw_training(HISTORY, tmp_path)
    axes = {axis.get_title(): axis for axis in figures[0].axes}
    assert list(axes) == [
        "loss",
        "PRM's value of the answers",
        "KL from pi_(i-1), nats an answer",
        "margin: gap of a pair",
    ]
    steps, _ = axes["loss"].lines
    assert (list(steps.get_xdata()), list(steps.get_ydata())) == ([2, 3], [0.7, 0.6])
    _, mean = axes["PRM's value of the answers"].lines
    assert list(mean.get_ydata()) == pytest.approx([0.55, 1.9 / 3, 0.7])
    assert "PRM's value 0.70" in (tmp_path / SMALL).read_text()


def test_it_is_the_same_every_time_and_not_too_wide(tmp_path: Path) -> None:
    draw_training(HISTORY, tmp_path)
    once = (tmp_path / PICTURE).read_bytes()
    draw_training(HISTORY, tmp_path)
    assert (tmp_path / PICTURE).read_bytes() == once
    assert int.from_bytes(once[16:20], "big") <= 1000


def test_without_a_prm_the_small_picture_is_of_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(chart, "draw_small", lambda lines, *_: drawn.append(lines))
    draw_training([{"loss": 0.7, "margin": 0.0}, {"loss": 0.5, "margin": 1.0}], tmp_path)
    (lines,) = drawn
    assert [point.y for point in lines["loss"]] == pytest.approx([0.6, 0.6])
