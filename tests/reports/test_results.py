"""The table beside the paper's."""

from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.envs.alfworld.published import PAPER, published
from agentprm_dagster.envs.alfworld.tasks import SHORT_NAMES
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.reports.chart import success as chart
from agentprm_dagster.reports.chart.small import SMALL
from agentprm_dagster.reports.chart.success import draw, draw_curves, draw_scaling
from agentprm_dagster.reports.evaluation import success
from agentprm_dagster.reports.results import cells, columns, in_order, policy_name, results_report
from agentprm_dagster.reports.seeds import over_seeds
from figures import noted


def row(iteration: int, best_of: int, won: int, split: str = "valid_seen", ranked_by: str = "prm") -> dict[str, Any]:
    episodes = [Episode(str(i), str(i), "pick_and_place_simple", "", (), i < won) for i in range(10)]
    counted = success(episodes)
    name = {"policy": f"pi_{iteration}", "iteration": iteration, "split": split, "best_of": best_of}
    judged = {"ranked_by": None if best_of == 1 else ranked_by, "world": None, "horizon": 0}
    return {**name, **judged, **counted, "by_task_type": {"pick_and_place_simple": counted}}


ROWS = [row(1, 8, 7), row(0, 1, 2), row(1, 1, 5), row(0, 8, 3), row(0, 1, 1, "valid_unseen")]


def test_order_and_names() -> None:
    names = [(line["split"], policy_name(line)) for line in in_order(ROWS)]
    assert names == [
        ("valid_seen", "pi_0"),
        ("valid_seen", "Bo8(pi_0, prm[1])"),
        ("valid_seen", "pi_1"),
        ("valid_seen", "Bo8(pi_1, prm[1])"),
        ("valid_unseen", "pi_0"),
    ]
    assert policy_name(row(2, 4, 7, ranked_by="inverse_prm")) == "Bo4(pi_2, inverse_prm[2])"
    assert policy_name(row(2, 4, 7, ranked_by="log_ratio")) == "Bo4(pi_2, log pi_2/pi_1)"
    ahead = {**row(2, 4, 7), "world": "learned", "horizon": 2}
    assert policy_name(ahead) == "MPR4(pi_2, prm[2], h=2)"
    assert policy_name({**ahead, "world": "oracle"}) == "MPR4(pi_2, prm[2], h=2, oracle)"
    assert in_order([ahead, row(2, 8, 7), row(2, 1, 7)])[-1] is ahead


def test_what_no_iteration_made_stands_first_and_is_drawn_as_a_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    react = {**row(0, 1, 4), "policy": "ReAct(org/model:1@x)", "iteration": None}
    assert [policy_name(line) for line in in_order([*ROWS, react])][:2] == ["ReAct(org/model:1@x)", "pi_0"]
    name = "valid_seen ReAct org/model:1 x best of 1"  # characters that MLflow allows
    assert results_report([*ROWS, react], SHORT_NAMES, {}).metrics[name] == 0.4
    drawn: list[str] = []
    really = chart._draw_line

    def note(axis: Any, over: str, line: list[dict[str, Any]], label: str, **style: Any) -> None:
        drawn.extend(each["policy"] for each in line)
        really(axis, over, line, label, **style)

    monkeypatch.setattr(chart, "_draw_line", note)
    draw(ROWS, tmp_path / "without.png")
    without = drawn.copy()
    draw([*ROWS, react], tmp_path / "with.png")
    assert drawn == [*without, *without], "it is on no line"
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes(), "but it is there"


def test_a_line_by_hand() -> None:
    line = dict(zip(columns(SHORT_NAMES), cells(row(1, 1, 5), SHORT_NAMES), strict=True))
    assert (line["n"], line["success"], line["pick"], line["look"]) == ("10", "50.0%", "50%", "")


@pytest.mark.parametrize("paper", PAPER, ids=lambda paper: paper.policy)
def test_the_papers_rows_are_counts_of_134_games(paper: Any) -> None:
    # Games by task type in the order of TASK_TYPES: pick, look, clean, heat, cool, pick two.
    counts = [round(rate / 100 * n) for rate, n in zip(paper.by_task_type, (24, 18, 31, 23, 21, 17), strict=True)]
    assert round(100 * sum(counts) / 134, 1) == paper.success


def test_the_page_shows_both_tables_and_the_picture() -> None:
    report = results_report(ROWS, SHORT_NAMES, {"success over iterations": "results.png"}, published=published())
    assert "| valid_seen | Bo8(pi_1, prm[1]) | 10 | 70.0% |" in report.preview
    assert "| pi_3 | 88.1% | 12.7 |" in report.preview
    assert "](results.png)" in report.preview
    first, table, *_ = report.preview.split("\n\n")
    assert first == (
        "- valid_seen: **pi_1 50.0% (23.7% to 76.3%)**, pi_0 20.0% (5.7% to 51.0%) of 10 games\n"
        "- valid_unseen: **pi_0 10.0% (1.8% to 40.4%)** of 10 games"
    )
    assert table.startswith("| split |"), "the table is before any picture"
    assert report.metrics["valid_seen pi_1 best of 8 by prm"] == 0.7


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """What lines a picture has, and over what they stand."""
    lines: dict[str, list[int]] = {}
    really = chart._draw_line

    def note(axis: Any, over: str, line: list[dict[str, Any]], label: str, **style: Any) -> None:
        lines[label] = [each[over] for each in line]
        really(axis, over, line, label, **style)

    monkeypatch.setattr(chart, "_draw_line", note)
    return lines


SEVERAL = [row(1, n, 5, ranked_by=judge) for judge in ("prm", "log_ratio") for n in (2, 8)] + [row(1, 1, 4)]


def test_success_over_n_has_a_line_for_every_policy_and_judge(tmp_path: Path, drawn: dict[str, list[int]]) -> None:
    draw_scaling(SEVERAL, tmp_path / "scaling.png")
    assert drawn == {"pi_1 by prm": [1, 2, 8], "pi_1 by log_ratio": [1, 2, 8]}
    assert (tmp_path / "scaling.png").stat().st_size > 1000


def test_success_over_iterations_has_a_line_for_every_judge_with_its_largest_n(
    tmp_path: Path, drawn: dict[str, list[int]]
) -> None:
    draw(SEVERAL, tmp_path / "results.png")
    assert drawn == {"greedy": [1], "best of 8 by prm": [1], "best of 8 by log_ratio": [1]}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are written."""
    return noted(chart, monkeypatch)


def test_the_axis_is_fitted_to_what_is_drawn_and_says_where_it_begins(tmp_path: Path, figures: list[Any]) -> None:
    high = [{**row(i, 1, 9), "ci_low": 0.8, "ci_high": 0.95} for i in (0, 1)]
    draw(high, tmp_path / "results.png")
    (axis,) = figures[0].axes
    low, top = axis.get_ylim()
    assert 0.75 < low < 0.8 and 0.95 < top < 1, "a margin around the intervals"
    assert axis.get_ylabel() == f"success, 95% interval (axis begins at {low:.0%})"
    assert int.from_bytes((tmp_path / "results.png").read_bytes()[16:20], "big") <= 1000
    (legend,) = figures[0].legends
    box, whole = legend.get_window_extent(), figures[0].bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0, "no part of the legend is cut off"


def test_ticks_stand_at_the_rate_that_they_name(tmp_path: Path, figures: list[Any]) -> None:
    draw([{**row(i, 1, 6), "ci_low": 0.55, "ci_high": 0.72} for i in (0, 1)], tmp_path / "results.png")
    (axis,) = figures[0].axes
    ticks = [(label.get_position()[1], label.get_text()) for label in axis.get_yticklabels()]
    assert ticks[1][0] - ticks[0][0] == pytest.approx(0.025)
    assert all(float(text.removesuffix("%")) == pytest.approx(100 * rate) for rate, text in ticks)


def test_the_mean_over_seeds_stands_beside_one_seed(tmp_path: Path, figures: list[Any]) -> None:
    seeds = over_seeds({0: [row(0, 1, 2), row(1, 1, 4)], 1: [row(0, 1, 4), row(1, 1, 8)]})
    draw([row(0, 1, 2), row(1, 1, 4), row(1, 8, 9)], tmp_path / "results.png", seeds)
    (axis,) = figures[0].axes
    (mean,) = (line for line in axis.lines if "seeds" in str(line.get_label()))
    assert mean.get_label() == "greedy, mean of 2 seeds, 95% over seeds"
    assert list(mean.get_xdata()) == [0, 1]
    assert list(mean.get_ydata()) == pytest.approx([0.3, 0.6])


def test_the_small_curves_are_greedy_over_iterations(tmp_path: Path) -> None:
    draw_curves(ROWS, tmp_path)
    svg = (tmp_path / SMALL).read_text()
    assert "valid_seen 0.50" in svg and "valid_unseen 0.10" in svg and "success over iterations 0 to 1" in svg


def test_the_picture_is_the_same_every_time(tmp_path: Path) -> None:
    draw(ROWS, tmp_path / "one.png")
    draw(ROWS, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
