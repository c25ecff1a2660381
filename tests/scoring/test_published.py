"""The cards in leaderboard/ are as they say, and results.md shows their numbers."""

import os
from pathlib import Path

import pytest

from agentprm_dagster.scoring.card import read_card
from agentprm_dagster.scoring.checking import check
from agentprm_dagster.scoring.leaderboard import leaderboard

ROOT = Path(__file__).parents[2]
CARDS = sorted((ROOT / "leaderboard").glob("*.json"))
HERE = (Path(os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser() / "json_2.1.1").is_dir()


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_published_card_is_as_it_says(path: Path) -> None:
    found = {each.name: each for each in check(read_card(path))}
    assert {name: each.differences for name, each in found.items() if each.differences} == {}
    undone = {name for name, each in found.items() if each.not_done}
    assert undone == (set() if HERE else {"games", "replay"})


def test_the_page_shows_them() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    rows = [
        line
        for line in leaderboard([read_card(path) for path in CARDS]).splitlines()
        if line.startswith("| ") and " to " in line
    ]
    assert len(rows) == len(CARDS) > 0
    assert [row for row in rows if row not in page] == []
