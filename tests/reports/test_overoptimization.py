"""When the panel's signals trip, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from agentprm_dagster.reports.overoptimization import (
    LIMITS,
    Measurement,
    Signal,
    fires_at,
    panel_metrics,
    panel_page,
    to_go_back_to,
    tripped,
)

START = Measurement(0, 0.5, 100, 0.4, 0.0, 0.9, 0.02, 0.5)


def history(**values: list[float]) -> list[Measurement]:
    """Measurements ten steps apart, with the given numbers and all else as at the start."""
    (length,) = {len(series) for series in values.values()}
    changes: list[dict[str, Any]] = [{name: series[i] for name, series in values.items()} for i in range(length)]
    return [replace(START, step=10 * i, **change) for i, change in enumerate(changes)]


@pytest.mark.parametrize(
    ("signal", "series", "fires", "keeps"),
    [
        ("success", [0.5, 0.7, 0.66, 0.64, 0.3], 3, 1),
        ("success", [0.5, 0.6, 0.7, 0.7], None, None),
        ("kl", [0.0, 0.05, 0.09, 0.12, 0.01], 3, 2),
        ("disagreement", [0.5, 0.55, 0.61, 0.5], 2, 1),
        ("calibration", [0.02, 0.06, 0.069, 0.08], 3, 2),
        ("calibration", [-0.2, -0.1], 1, 0),
    ],
)
def test_a_signal_trips_and_says_where_to_go_back_to(
    signal: Signal, series: list[float], fires: int | None, keeps: int | None
) -> None:
    seen = history(**{signal: series})
    assert fires_at(seen, signal) == fires
    if fires is not None:
        assert tripped(seen[: fires + 1], signal, LIMITS[signal])
        assert to_go_back_to(seen[: fires + 1], signal) == keeps


@pytest.mark.parametrize("signal", LIMITS)
def test_the_first_measurement_never_trips(signal: Signal) -> None:
    assert not tripped([replace(START, kl=1.0)], signal, 0.05)


def test_what_was_not_measured_does_not_fire() -> None:
    blind = [replace(each, calibration=None, disagreement=None) for each in history(success=[0.5, 0.1])]
    assert fires_at(blind, "calibration") is None
    assert fires_at(blind, "disagreement") is None
    with pytest.raises(ValueError, match="disagreement was not measured"):
        tripped(blind, "disagreement", 1.0)


def test_the_metrics_say_what_each_signal_would_have_kept() -> None:
    seen = history(success=[0.5, 0.8, 0.7, 0.4], value=[0.4, 0.5, 0.6, 0.7], kl=[0.0, 0.05, 0.2, 0.4])
    metrics = panel_metrics(seen)
    assert (metrics["panel_success_best"], metrics["panel_best_step"], metrics["panel_success_last"]) == (0.8, 10, 0.4)
    assert (metrics["panel_success_fires_at"], metrics["panel_success_keeps"]) == (20, 0.8)
    assert (metrics["panel_kl_fires_at"], metrics["panel_kl_keeps"]) == (20, 0.8)
    assert "panel_calibration_fires_at" not in metrics
    page = panel_page(seen, "panel.png")
    assert "| kl | 0.1 | step 20, keeping step 10: 80.0%" in page
    assert "| calibration | 0.05 | no step |" in page
    assert "](panel.png)" in page
