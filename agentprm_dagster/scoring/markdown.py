"""A card in Markdown."""

from collections.abc import Iterator, Sequence

from agentprm_dagster.episodes.visible import visible
from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.words import Table, tables

MOST_LETTERS = 2000


def markdown(card: Card) -> str:
    """The card's tables."""
    return "\n".join([f"# {plain(card.name)}", *(line for table in tables(card) for line in lines(table))]) + "\n"


def lines(table: Table) -> Iterator[str]:
    """A table with its heading."""
    yield from ("", f"## {plain(table.heading)}", "")
    if table.about:
        yield from (plain(table.about), "")
    yield _row(table.columns)
    yield _row(["---"] * len(table.columns))
    yield from map(_row, table.rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(plain, cells))} |"


def plain(text: str) -> str:
    """A text that lays out nothing in Markdown, and is no HTML."""
    shown = visible(text, MOST_LETTERS).replace("\n", " ").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\`*[]|":
        shown = shown.replace(mark, f"\\{mark}")
    return shown
