"""Curves small enough to be shown in the list of an artifact's metadata, where a larger picture is a click away.

Dagster 1.13 shows Markdown of less than 1,000 characters in the list itself, the picture in it included. That is too
little for a PNG and enough for a few lines of SVG, which is why they are written by hand here.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

SMALL = "small.svg"
"""The file beside a page that holds one."""
LARGEST = 900
"""Characters of the file as a URL; what is said around it takes some more."""
MOST_POINTS = 12
"""Points of one curve; of more, some evenly spread ones are drawn."""

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 130, 40, 300, 12, 105
_COLOURS = ("#06c", "#c60", "#393", "#808")


class Point(NamedTuple):
    """A place on a curve; `low` and `high` are the ends of its interval, both `y` where it has none."""

    x: float
    y: float
    low: float
    high: float


def draw_small(curves: Mapping[str, Sequence[Point]], across: str, path: Path) -> None:
    """Writes curves over what `across` names, with their intervals, their names and last values beside them.

    As many of them, from the first on, as fit; no file where no curve has a point.
    """
    finite = {name: [each for each in points if isfinite(sum(each))] for name, points in curves.items()}
    known = {name: thinned(points) for name, points in finite.items() if points}
    while known and len(as_url(svg := _svg(known, across))) > LARGEST:
        known.popitem()
    if known:
        path.write_text(svg, encoding="utf-8")


def as_url(svg: str) -> str:
    """SVG as the address of a picture; the few characters that a link in Markdown or a URL cannot hold are encoded."""
    for character, code in (("%", "%25"), ("#", "%23"), ("<", "%3C"), (">", "%3E")):
        svg = svg.replace(character, code)
    return f"data:image/svg+xml,{svg}"


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most MOST_POINTS of them, the first and the last among these."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def _svg(curves: Mapping[str, Sequence[Point]], across: str) -> str:
    every = [point for points in curves.values() for point in points]
    first, last = min(point.x for point in every), max(point.x for point in every)
    least, most = min(point.low for point in every), max(point.high for point in every)

    def x(value: float) -> int:
        return round(_LEFT + (value - first) / ((last - first) or 1) * (_RIGHT - _LEFT))

    def y(value: float) -> int:
        return round(_BOTTOM - (value - least) / ((most - least) or 1) * (_BOTTOM - _TOP))

    parts = [
        _text(2, y(most) + 4, f"{most:.2f}"),
        *([_text(2, y(least) + 4, f"{least:.2f}")] if most > least else []),
        _text(_LEFT, _HEIGHT - 5, f"{across} {first:g} to {last:g}"),
    ]
    for number, (name, points) in enumerate(curves.items()):
        line = "L".join(f"{x(point.x)} {y(point.y)}" for point in points)
        bars = "".join(f"M{x(point.x)} {y(point.low)}V{y(point.high)}" for point in points if point.low < point.high)
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f"<path fill='none' stroke='{colour}' d='M{line}{bars}'/>")
        parts.append(_text(_RIGHT + 10, 20 + 16 * number, f"{name} {points[-1].y:.2f}", colour))
    size = f"width='{_WIDTH}' height='{_HEIGHT}' font-size='12' style='background:#fff'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size}>{''.join(parts)}</svg>"


def _text(x: int, y: int, text: str, colour: str = "") -> str:
    fill = f" fill='{colour}'" if colour else ""
    return f"<text x='{x}' y='{y}'{fill}>{escape(text)}</text>"
