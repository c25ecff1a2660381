"""A card's files: JSON for programs, Markdown and a page for people, beside each other."""

from pathlib import Path

from agentprm_dagster.provenance.durable import replace_text
from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.markdown import markdown
from agentprm_dagster.scoring.page import page


def write_card(card: Card, path: Path) -> None:
    """Writes `path`, which ends in .json, and beside it the same in .md and .html; the JSON last."""
    replace_text(path.with_suffix(".md"), markdown(card))
    replace_text(path.with_suffix(".html"), page(card))
    replace_text(path, card.to_json())
