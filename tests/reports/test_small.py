"""Small curves: always small, always SVG, and the right places."""

from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.reports.chart.small import LARGEST, MOST_POINTS, SMALL, Point, as_url, draw_small, thinned

NUMBER = st.floats(-100, 100) | st.just(float("nan"))
POINT = st.builds(lambda x, y, half: Point(x, y, y - half, y + half), st.integers(0, 50), NUMBER, st.floats(0, 1))
CURVES = st.dictionaries(st.text(max_size=30), st.lists(POINT, max_size=30), max_size=6)


def drawn(curves: dict[str, list[Point]]) -> str | None:
    with TemporaryDirectory() as folder:
        draw_small(curves, "step", Path(folder) / SMALL)
        return (Path(folder) / SMALL).read_text(encoding="utf-8") if (Path(folder) / SMALL).exists() else None


def curve(*places: tuple[float, float]) -> list[Point]:
    return [Point(x, y, y, y) for x, y in places]


def test_a_curve_by_hand() -> None:
    svg = drawn({"won": [Point(0, 0.2, 0.1, 0.3), Point(2, 0.8, 0.7, 0.9)], "lost": curve((0, 0.5), (1, 0.5))})
    picture = ElementTree.fromstring(svg or "")
    won, lost = (path.attrib["d"] for path in picture if path.tag.endswith("path"))
    # From 0.1 at y = 105 to 0.9 at y = 12, and from iteration 0 at x = 40 to 2 at x = 300.
    assert won == "M40 93L300 24M40 105V82M300 35V12"
    assert lost == "M40 58L170 58", "no interval, no bar"
    texts = [text.text for text in picture if text.tag.endswith("text")]
    assert texts == ["0.90", "0.10", "step 0 to 2", "won 0.80", "lost 0.50"]


@given(CURVES)
def test_it_is_small_and_well_formed_whatever_is_drawn(curves: dict[str, list[Point]]) -> None:
    names = {"".join(c for c in name if c.isprintable()): points for name, points in curves.items()}
    svg = drawn(names)
    if svg is None:
        return
    address = as_url(svg)
    ElementTree.fromstring(svg)
    assert len(address) <= LARGEST
    assert not {"<", ">", "#", "\n"} & set(address)
    assert unquote(address) == f"data:image/svg+xml,{svg}"


def test_curves_that_do_not_fit_are_left_out_from_the_last_on() -> None:
    many = {f"curve {i}": curve(*((x, x * i) for x in range(12))) for i in range(8)}
    svg = drawn(many) or ""
    kept = [name for name in many if name in svg]
    assert 0 < len(kept) < 8
    assert kept == list(many)[: len(kept)]


def test_nothing_is_drawn_of_nothing() -> None:
    assert drawn({}) is None
    assert drawn({"won": [], "lost": curve((0, float("nan")))}) is None


@given(st.lists(POINT, min_size=1, max_size=200))
def test_thinning_keeps_the_ends(points: list[Point]) -> None:
    kept = thinned(points)
    assert len(kept) == min(len(points), MOST_POINTS)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
