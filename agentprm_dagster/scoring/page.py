"""A card as one HTML page that needs nothing but itself: no script, no other file, no network.

All that a card says is foreign: it reaches the page only as the text of elements, which `xml.etree` escapes, and made
visible (`episodes.visible`).
"""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from agentprm_dagster.episodes.visible import visible
from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.markdown import MOST_LETTERS
from agentprm_dagster.scoring.records import PlayedGame
from agentprm_dagster.scoring.words import Table, tables

_STYLE = """
:root { --ink: #1c2126; --soft: #5f6b76; --line: #d9dee3; --paper: #fff; --won: #1a7f37; --lost: #c0343d;
  color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #98a4b0; --line: #343b43; --paper: #14181c;
  --won: #56c271; --lost: #ff7b82; } }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
p, summary { color: var(--soft); }
.won { color: var(--won); }
.lost { color: var(--lost); }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing."""

_MOST_COMMANDS = 60
"""Of each game; a longer one is cut."""


def page(card: Card) -> str:
    """The page, from its doctype on: the card's tables, and every game of its runs to be unfolded."""
    root = Element("html", {"lang": "en"})
    head = SubElement(root, "head")
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    _add(head, "title", f"Score card of {card.name}")
    SubElement(head, "style").text = _STYLE
    body = SubElement(root, "body")
    _add(body, "h1", card.name)
    for table in tables(card):
        _add_table(body, table)
    for run in card.runs:
        for split, games in run.games.items():
            _add_games(body, f"{split}, {card.agents[run.agent].name}, seed {run.seed}: {len(games)} games", games)
    return f"<!doctype html>\n{tostring(root, encoding='unicode', method='html')}\n"


def _add(parent: Element, tag: str, text: str = "", name: str = "") -> Element:
    """A new element with a text, and a class where it has a name."""
    element = SubElement(parent, tag, {"class": name} if name else {})
    element.text = visible(text, MOST_LETTERS)
    return element


def _add_table(body: Element, table: Table) -> None:
    _add(body, "h2", table.heading)
    if table.about:
        _add(body, "p", table.about)
    rows = SubElement(SubElement(body, "div"), "table")
    if any(table.columns):
        _add_row(rows, "th", table.columns)
    for row in table.rows:
        _add_row(rows, "td", row)


def _add_row(table: Element, tag: str, cells: Sequence[str]) -> None:
    row = SubElement(table, "tr")
    for cell in cells:
        _add(row, tag, cell)


def _add_games(body: Element, title: str, games: Sequence[PlayedGame]) -> None:
    details = SubElement(body, "details")
    _add(details, "summary", title)
    rows = SubElement(SubElement(details, "div"), "table")
    for game in games:
        row = SubElement(rows, "tr")
        outcome = "won" if game.won else "lost"
        _add(row, "td", game.id)
        _add(row, "td", outcome, outcome)
        _add(row, "td", str(len(game.commands)))
        _add(row, "td", "; ".join(command or "(no command)" for command in game.commands[:_MOST_COMMANDS]))
