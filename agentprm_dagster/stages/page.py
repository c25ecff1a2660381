"""An artifact's page as Dagster shows it: the whole of it a click away, and what is read first in the list itself.

Dagster 1.13 shows Markdown of less than 1,000 characters in the list of an event's metadata and hides longer one behind
`[Show Markdown]`; a table of its own is always shown. So the first paragraph, a small picture and the tables of a page
are entries of their own.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from agentprm_dagster.reports.chart.small import SMALL, as_url

PAGE = "page.md"
"""The file of every artifact that a person reads first."""

SHOWN = 1000
"""Markdown of as many characters is hidden."""

_PICTURE = re.compile(r"\]\(((?:[\w-]+/)?[\w.-]+\.png)\)")


def whole_page(folder: Path) -> str:
    """The page, its pictures within it: Dagster shows Markdown and knows nothing of the files beside it."""
    text = (folder / PAGE).read_text(encoding="utf-8")
    return _PICTURE.sub(lambda match: f"](data:image/png;base64,{_base64(folder / match[1])})", text)


def on_sight(folder: Path) -> dict[str, dg.MarkdownMetadataValue]:
    """What of the page in a folder is read without a click: its first paragraph or list, and its small picture."""
    blocks = _blocks(folder)
    entries: dict[str, dg.MarkdownMetadataValue] = {}
    if blocks[0][:1] not in "|#!" and len(blocks[0]) < SHOWN:
        entries["summary"] = dg.MetadataValue.md(blocks[0])
    if (folder / SMALL).exists():
        picture = f"![curves](<{as_url((folder / SMALL).read_text(encoding='utf-8'))}>)"
        entries["picture"] = dg.MetadataValue.md(picture)
    return entries


def tables(folder: Path) -> dict[str, dg.TableMetadataValue]:
    """The tables of the page in a folder: `table`, `table_2`, and so on."""
    found = enumerate(_tables(_blocks(folder)), 1)
    return {"table" if number == 1 else f"table_{number}": table for number, table in found}


def _blocks(folder: Path) -> list[str]:
    return (folder / PAGE).read_text(encoding="utf-8").split("\n\n")


def _tables(blocks: Sequence[str]) -> Iterator[dg.TableMetadataValue]:
    """The tables but for lists of metrics, two columns that are not both named: these stand by themselves."""
    for block in blocks:
        lines = [_cells(line) for line in block.strip().splitlines()]
        if len(lines) < 3 or not block.startswith("|") or (len(lines[0]) == 2 and not all(lines[0])):
            continue
        head, _, *rows = lines
        records = [dg.TableRecord(dict(zip(head, row, strict=True))) for row in rows]
        schema = dg.TableSchema([dg.TableColumn(name, "string") for name in head])
        yield dg.MetadataValue.table(records, schema)


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("*`") for cell in line.strip().strip("|").split("|")]


def _base64(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()
