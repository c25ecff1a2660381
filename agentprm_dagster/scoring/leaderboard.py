"""A table of cards for each panel, the best first; no column says more than the cards do."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.markdown import lines
from agentprm_dagster.scoring.results import Result
from agentprm_dagster.scoring.words import Table, percent, rate

GOAL, GOAL_SPLIT, GOAL_CAP = 0.9, "valid_seen", 50
"""What "time to 90%" asks for: this success on this split within so many actions, by the card's own records."""


def leaderboard(cards: Sequence[Card]) -> str:
    """A table for each panel and split, and the training times of those that reach the goal, in Markdown."""
    panels = defaultdict(list)
    for card in cards:
        panels[card.panel_digest].append(card)
    tables = [_table(same, split) for same in panels.values() for split in sorted(same[0].panel.splits)]
    return "\n".join(line for table in [*tables, _times(cards)] for line in lines(table)).lstrip("\n") + "\n"


def _table(cards: Sequence[Card], split: str) -> Table:
    panel = cards[0].panel
    best_first = sorted(cards, key=lambda card: -_rows(card, split)[-1].micro.rate)
    columns = ["agent", "asked", "runs", *(f"{cap} actions" for cap in panel.caps), "mean over kinds", "training"]
    rows = tuple(tuple(_cells(card, split)) for card in best_first)
    heading = f"{panel.environment}, {split}, {len(panel.splits[split])} games"
    about = f"Panel {panel.digest[:16]}, rules {panel.rules}. Success in % with its 95% interval over games."
    return Table(heading, tuple(columns), rows, about)


def _rows(card: Card, split: str) -> list[Result]:
    return [row for row in card.results if row.split == split]


def _cells(card: Card, split: str) -> Iterator[str]:
    rows = _rows(card, split)
    yield card.name
    yield (card.protocol.prompt or "-") + (f", best of {card.protocol.best_of}" if card.protocol.best_of > 1 else "")
    yield str(len(card.runs))
    yield from (rate(row.micro) for row in rows)
    yield percent(rows[-1].macro)
    yield _hours(card)


def _hours(card: Card) -> str:
    if card.training is None:
        return "-"
    return f"{card.training.hours:g} h{' (stated)' if card.training.stated else ''}, {card.training.processor}"


def _times(cards: Sequence[Card]) -> Table:
    """Who reaches the goal, the shortest training first."""
    reached = [card for card in cards if card.training and _reaches(card)]
    reached.sort(key=lambda card: card.training.hours if card.training else 0.0)
    rows = tuple((card.name, _hours(card)) for card in reached) or (("none yet", "-"),)
    about = (
        f"Agents that won {100 * GOAL:.0f}% of {GOAL_SPLIT} of ALFWorld's own games within {GOAL_CAP} actions, by how "
        "long their training took; only those that were trained."
    )
    return Table(f"Time to {100 * GOAL:.0f}%", ("agent", "training"), rows, about)


def _reaches(card: Card) -> bool:
    real = card.panel.source.settings.get("source") == "alfworld" and card.panel.source.limit is None
    rows = (row for row in card.results if (row.split, row.cap) == (GOAL_SPLIT, GOAL_CAP))
    return real and any(row.micro.rate >= GOAL for row in rows)
