"""A small picture of a PRM's values over the turns of an episode, as SVG to stand within a page."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from agentprm_dagster.episodes.values import TurnValue

_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 120, 34, 10
_WIDEST = 36
"""Between two turns, in units of the picture."""


def value_curve(values: Sequence[TurnValue]) -> Element:
    """Q(s, a) of every turn, and V(s') half a step behind it where it is known, between 0 and 1.

    Style sheets find `q` and `after` as classes; every point says its value when pointed at.
    """
    svg = Element("svg", {"class": "curve", "viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img"})
    first, last = values[0].q, values[-1].q
    svg.set("aria-label", f"Q(s, a) over {len(values)} turns, from {first:.2f} to {last:.2f}")
    for level in (0, 0.5, 1):
        at = f"{_height(level):.1f}"
        SubElement(svg, "line", {"class": "grid", "x1": f"{_LEFT}", "x2": f"{_WIDTH}", "y1": at, "y2": at})
        label = SubElement(svg, "text", {"x": f"{_LEFT - 6}", "y": f"{_height(level) + 4:.1f}"})
        label.text = f"{level:g}"
    step = min(_WIDEST, (_WIDTH - _LEFT - 34) / len(values))
    places = [_LEFT + 8 + step * i for i in range(len(values))]
    after = [(x + step / 2, each.after) for x, each in zip(places, values, strict=True)]
    _line(svg, "after", "V", [(i, x, value) for i, (x, value) in enumerate(after, 1) if value is not None])
    _line(svg, "q", "Q", [(i, x, each.q) for i, (x, each) in enumerate(zip(places, values, strict=True), 1)])
    return svg


def _height(value: float) -> float:
    return _TOP + (1 - value) * (_HEIGHT - 2 * _TOP)


def _line(svg: Element, name: str, what: str, points: Sequence[tuple[int, float, float]]) -> None:
    """A line through points (turn, x, value), a dot at each, and its name at the end; nothing without points."""
    path = " ".join(f"{x:.1f},{_height(value):.1f}" for _, x, value in points)
    SubElement(svg, "polyline", {"class": name, "points": path})
    for turn, x, value in points:
        dot = SubElement(svg, "circle", {"class": name, "cx": f"{x:.1f}", "cy": f"{_height(value):.1f}", "r": "3"})
        SubElement(dot, "title").text = f"turn {turn}: {what} {value:.2f}"
    for _, x, value in points[-1:]:
        label = SubElement(svg, "text", {"class": name, "x": f"{x + 7:.1f}", "y": f"{_height(value) + 4:.1f}"})
        label.text = what
