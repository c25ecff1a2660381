"""Tables that can be read in a narrow terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def print_table(columns: Sequence[str], lines: Iterable[Sequence[str]], least: int) -> None:
    """Prints a table; where the terminal is too narrow, columns from the right are left out, which is said.

    The first `least` columns stay; what does not fit into them is wrapped and never cut. Where there is no terminal,
    nothing is left out.
    """
    lines, console = list(lines), Console()
    widths = {count: _width(console, _table(columns[:count], lines)) for count in range(least, len(columns) + 1)}
    if not console.is_terminal:
        console.width = max(console.width, widths[len(columns)])
    shown = max((count for count, width in widths.items() if width <= console.width), default=least)
    console.print(_table(columns[:shown], lines, tight=widths[shown] > console.width))
    if left_out := columns[shown:]:
        console.print(f"Left out, as the terminal is narrow: {', '.join(left_out)}.", markup=False)


def _table(columns: Sequence[str], lines: Iterable[Sequence[str]], *, tight: bool = False) -> Table:
    table = Table(padding=(0, 0 if tight else 1))
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*line[: len(columns)])
    return table


def _width(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum
