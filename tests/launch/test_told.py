"""What one process writes down, and another passes on."""

import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.launch.told import (
    PROGRESS,
    Listener,
    TellingMonitor,
    Trained,
    hear_error,
    hear_trained,
    tell_error,
    tell_trained,
)
from asked_trainings import Heard


def test_each_line_is_passed_on_once_and_whole(tmp_path: Path) -> None:
    heard = Heard()
    teller, listener = TellingMonitor(tmp_path), Listener(tmp_path, heard)
    listener.pass_on()
    assert heard.said == []
    teller.progress(1, 2, "steps\nof two")
    teller.metrics({"loss": cast(float, np.float32(0.5))}, 1)
    listener.pass_on()
    expected: list[object] = [(1, 2, "steps\nof two"), ({"loss": 0.5}, 1)]
    assert heard.said == expected
    with (tmp_path / PROGRESS).open("a") as file:
        file.write('{"done": 2, "total"')
    listener.pass_on()
    assert heard.said == expected
    with (tmp_path / PROGRESS).open("a") as file:
        file.write(': 2, "what": "é"}\n')
    listener.pass_on()
    assert heard.said == [*expected, (2, 2, "é")]


def test_a_report_keeps_numbers_that_are_not_finite(tmp_path: Path) -> None:
    gate = Gate("finite_loss", False, "it is not", math.inf)
    tell_trained(tmp_path, Trained(StageReport({"loss": math.nan, "steps": 3}, (gate,), "é"), ["a GPU"]))
    trained = hear_trained(tmp_path)
    assert trained.report.gates == (gate,)
    assert math.isnan(trained.report.metrics["loss"])
    assert (trained.report.metrics["steps"], trained.report.preview, trained.gpus) == (3, "é", ["a GPU"])


def test_the_first_error_is_told(tmp_path: Path) -> None:
    assert hear_error(tmp_path) is None
    for rank in (3, 0):
        with pytest.raises(ValueError) as caught:
            raise ValueError(f"in {rank}")
        tell_error(tmp_path, rank, caught.value)
    words = hear_error(tmp_path)
    assert words
    assert words.startswith("process 3: ValueError: in 3\n")
    assert 'raise ValueError(f"in {rank}")' in words
