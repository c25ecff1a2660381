"""A lineage as SVG: what was read above and to the left, what was made from it below and to the right."""

from collections.abc import Mapping
from html import escape

from agentprm_dagster.provenance.headline import headline
from agentprm_dagster.provenance.layout import layout
from agentprm_dagster.provenance.lineage import Lineage, Node
from agentprm_dagster.provenance.manifest import Version

WIDTH, HEIGHT = 168, 84
"""Of an artifact's box, in pixels."""
_ACROSS, _DOWN, _MARGIN = 34, 46, 30
"""Between two boxes, and around all."""

_STYLE = "font-family='sans-serif' font-size='11' style='background:#fff'"
_ARROW = (
    "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
    "<path d='M0 0L8 4L0 8z' fill='#888'/></marker></defs>"
)


def svg(lineage: Lineage, links: Mapping[Version, str] | None = None) -> str:
    """The picture; `links` are addresses that the boxes lead to, where it stands in a page and not in an image."""
    places, asked = layout(lineage), lineage.root.version
    width = 2 * _MARGIN - _ACROSS + (WIDTH + _ACROSS) * (1 + max(column for column, _ in places.values()))
    height = 2 * _MARGIN - _DOWN + (HEIGHT + _DOWN) * (1 + max(row for _, row in places.values()))
    arrows = "".join(_arrow(places[read], places[made]) for read, made in lineage.edges())
    boxes = ""
    for version, node in lineage.nodes().items():
        box = _box(node, places[version], asked=version == asked)
        boxes += f"<a href='{escape(links[version])}'>{box}</a>" if links and version in links else box
    size = f"width='{width}' height='{height}' viewBox='0 0 {width} {height}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} {_STYLE}>{_ARROW}{arrows}{boxes}</svg>"


def corner(place: tuple[int, int]) -> tuple[int, int]:
    """Where the box of a column and row begins, in pixels from the left and the top."""
    return _MARGIN + place[0] * (WIDTH + _ACROSS), _MARGIN + place[1] * (HEIGHT + _DOWN)


def lines_of(node: Node) -> list[str]:
    """What stands in an artifact's box: its name, its digest, and how far it can be made again; some numbers."""
    version, made = node.version, node.made
    name = f"{version.asset}[{version.iteration}]" if version.iteration else version.asset
    if made is None:
        return [name, version.digest[:8], "not in the store"]
    numbers = [f"{value:,.4g} {metric}" for metric, value in headline(made.metrics).items()]
    return [name, f"{version.digest[:8]} {made.reproducible or ''}".strip(), *numbers]


def _box(node: Node, place: tuple[int, int], *, asked: bool) -> str:
    x, y = corner(place)
    fill = "#ffe4b5" if asked else "#eef5fc" if node.artifact else "#fdd"
    lines = [
        f"<text x='{x + 8}' y='{y + 17 + 15 * i}'>{escape(_cut(line))}</text>" for i, line in enumerate(lines_of(node))
    ]
    lines[0] = lines[0].replace("<text", "<text font-weight='bold'", 1)
    rect = f"<rect x='{x}' y='{y}' width='{WIDTH}' height='{HEIGHT}' rx='6' fill='{fill}' stroke='#888'/>"
    return f"<g><title>{escape(str(node.version))}</title>{rect}{''.join(lines)}</g>"


def _cut(line: str, longest: int = 25) -> str:
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _arrow(read: tuple[int, int], made: tuple[int, int]) -> str:
    """Down to the next row, left past what stands between, in an arc above it in one row, or from side to side."""
    (x, y), (to_x, to_y) = corner(read), corner(made)
    middle, half = WIDTH // 2, HEIGHT // 2
    if made[1] > read[1] + 1:
        path = f"M{x} {y + half}C{x - _ACROSS} {y + half},{to_x - _ACROSS} {to_y + half},{to_x} {to_y + half}"
    elif made[1] > read[1]:
        bend = f"{x + middle} {y + HEIGHT + _DOWN},{to_x + middle} {to_y - _DOWN}"
        path = f"M{x + middle} {y + HEIGHT}C{bend},{to_x + middle} {to_y}"
    elif made[1] == read[1] and made[0] > read[0] + 1:
        path = f"M{x + WIDTH - 20} {y}C{x + WIDTH} {y - 30},{to_x} {to_y - 30},{to_x + 20} {to_y}"
    else:
        path = f"M{x + WIDTH} {y + half}C{x + WIDTH + 20} {y + half},{to_x - 20} {to_y + half},{to_x} {to_y + half}"
    return f"<path d='{path}' fill='none' stroke='#888' marker-end='url(#tip)'/>"
