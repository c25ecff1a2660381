"""Progress goes to the log now and then, to bars only where a person asked for them."""

from collections.abc import Mapping

import pytest

from agentprm_dagster.stages import monitor
from agentprm_dagster.stages.monitor import StageMonitor, conclude, progress_bars


class Sink:
    def __init__(self) -> None:
        self.points: list[tuple[dict[str, float], int]] = []

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.points.append((dict(values), step))


def test_the_log_is_told_at_the_end_and_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(monitor, "monotonic", lambda: now)
    told: list[str] = []
    watch = StageMonitor("rollouts[1]", told.append, Sink())
    watch.progress(1, 9, "episodes")
    assert told == []
    now += monitor.LOG_EVERY_SECONDS
    watch.progress(2, 9, "episodes")
    watch.progress(3, 9, "episodes")
    watch.progress(9, 9, "episodes")
    assert told == ["episodes: 2 of 9", "episodes: 9 of 9"]


def test_numbers_go_to_the_sink() -> None:
    sink = Sink()
    StageMonitor("prm[1]", print, sink).metrics({"loss": 0.5}, 7)
    assert sink.points == [({"loss": 0.5}, 7)]


def test_a_line_takes_the_place_of_the_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes it for a terminal
    conclude("nobody is looking")
    with progress_bars():
        StageMonitor("prm[1]", lambda line: None, Sink()).progress(1, 2, "steps")
        conclude("prm[1] is done")
    told = capsys.readouterr().err
    assert "prm[1] is done" in told
    assert "nobody" not in told


def test_without_a_terminal_a_line_tells_how_far_it_is_every_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(monitor, "monotonic", lambda: now)
    with progress_bars():
        stage = StageMonitor("prm[1]", lambda line: None, Sink())
        for done in range(1, 10):
            now += 25
            stage.progress(done, 9, "steps")
        conclude("prm[1] is done")
    assert capsys.readouterr().err.splitlines() == [
        "prm[1] steps: 3 of 9", "prm[1] steps: 6 of 9", "prm[1] steps: 9 of 9", "prm[1] is done"
    ]  # fmt: skip
