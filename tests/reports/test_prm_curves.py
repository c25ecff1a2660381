"""What is drawn of a process reward model, by hand; and the lines of the picture are these numbers."""

from math import log, nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agentprm_dagster.algorithm.statistics import Z, wilson_interval
from agentprm_dagster.reports.chart import prm as chart
from agentprm_dagster.reports.chart.prm import draw_prm
from agentprm_dagster.reports.chart.small import SMALL
from agentprm_dagster.reports.prm_curves import ordering_by_distance, value_by_turn
from agentprm_dagster.reports.prm_report import PICTURE
from figures import noted


def logit(value: float) -> float:
    return log(value / (1 - value))


# Three episodes: two won, one lost; a fourth is a branch, which is not asked about.
SCORED = pd.DataFrame(
    [
        ("w1", 0, "s", "a", 0.9, logit(0.6)),
        ("w1", 1, "t", "a", 1.0, logit(0.9)),
        ("w2", 0, "s", "b", 0.5, logit(0.4)),
        ("l1", 0, "s", "c", 0.0, logit(0.2)),
        ("b1", 1, "t", "b", 0.97, logit(0.95)),
    ],
    columns=["episode_id", "turn", "state", "action", "q", "logit"],
).assign(reply_logit=lambda frame: -frame["logit"])
WON = {"w1": True, "w2": True, "l1": False}


def test_values_by_turn() -> None:
    table = value_by_turn(SCORED, WON)
    assert table[["won", "turn", "episodes"]].to_numpy().tolist() == [[False, 0, 1], [True, 0, 2], [True, 1, 1]]
    assert table["value"].tolist() == pytest.approx([0.2, 0.5, 0.9])
    lost, both, alone = table[["low", "high"]].to_numpy().tolist()
    half = Z * 0.1 * 2**0.5 / 2**0.5  # standard deviation of 0.6 and 0.4 over the root of two episodes
    assert both == pytest.approx([0.5 - half, 0.5 + half])
    assert lost == pytest.approx([0.2, 0.2]), "one episode has no interval"
    assert alone == pytest.approx([0.9, 0.9])


def test_numbers_that_are_none_are_left_out() -> None:
    table = value_by_turn(SCORED.assign(logit=[nan, *SCORED["logit"][1:]]), WON)
    assert [row.episodes for row in table.itertuples(index=False)] == [1, 1, 1]
    assert value_by_turn(SCORED.assign(logit=nan), WON).empty


def test_ordering_by_distance() -> None:
    table = ordering_by_distance(SCORED)
    # In t: 1.0 beside 0.97, ordered wrongly. In s: a over b (0.4 apart), b over c (0.5), a over c (0.9), all right.
    rows = table[["distance", "accuracy", "pairs"]].to_numpy().tolist()
    assert rows == [pytest.approx([0.03, 0.0, 1]), pytest.approx([0.4, 1.0, 1]), pytest.approx([0.7, 1.0, 2])]
    assert table[["low", "high"]].to_numpy().tolist()[2] == pytest.approx(wilson_interval(2, 2))
    assert ordering_by_distance(SCORED.assign(logit=nan)).empty
    reply = ordering_by_distance(SCORED.assign(logit=SCORED["reply_logit"]))
    assert reply["accuracy"].tolist() == [1.0, 0.0, 0.0]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are written."""
    return noted(chart, monkeypatch)


def test_the_picture_shows_these_numbers(tmp_path: Path, figures: list[Any]) -> None:
    draw_prm(SCORED, WON, tmp_path)
    calibration, ordering, turns = figures[0].axes
    (dots,) = calibration.collections
    assert sorted(dots.get_offsets().tolist())[0] == pytest.approx([0.2, 0.0])
    assert [text.get_text() for text in calibration.texts] == ["1", "1", "1", "2"], "decisions in each bin"
    answers = ordering.containers[0].lines[0]
    assert answers.get_ydata().tolist() == pytest.approx([0.0, 1.0, 1.0])
    lines = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in turns.lines}
    assert lines == {
        "lost (1 episodes)": ([1], pytest.approx([0.2])),
        "won (2 episodes)": ([1, 2], pytest.approx([0.5, 0.9])),
    }
    assert "Q where won 0.90" in (tmp_path / SMALL).read_text()


def test_it_is_the_same_every_time_and_not_too_wide(tmp_path: Path) -> None:
    pictures = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw_prm(SCORED, WON, tmp_path / name)
        pictures.append((tmp_path / name / PICTURE).read_bytes())
    assert pictures[0] == pictures[1]
    assert int.from_bytes(pictures[0][16:20], "big") <= 1000, "the width in a PNG's head"


def test_a_model_without_a_number_can_be_drawn(tmp_path: Path) -> None:
    draw_prm(SCORED.assign(logit=nan, reply_logit=nan), WON, tmp_path)
    assert (tmp_path / PICTURE).exists()
    assert not (tmp_path / SMALL).exists()
