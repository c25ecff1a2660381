"""How every picture is made: no window, no global state, the same bytes from the same numbers."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
WIDEST = 10.0
"""Inches; Dagster shows pictures of up to 1,000 pixels without cutting them."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, at most WIDEST wide."""
    from matplotlib.figure import Figure  # a second to import; without pyplot there is no window and no global state

    return Figure(figsize=(min(width, WIDEST), height), layout="constrained")


def write(figure: "Figure", path: Path) -> None:
    """Writes it as a PNG without the date or the library's version."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
