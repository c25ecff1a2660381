"""Two cards of one panel beside each other, game by game."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from agentprm_dagster.algorithm.statistics import paired_difference
from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import differences


@dataclass(frozen=True, slots=True)
class Beside:
    """How much more often one card's agent wins than the other's, within so many actions of one split."""

    split: str
    cap: int
    n: int
    """Games, in each of the runs that are paired."""
    difference: float
    """Success rate minus the other's."""
    low: float
    """Of the 95% interval (Bonett and Price), the mean over paired runs."""
    high: float
    won_alone: tuple[str, ...]
    """Games that it wins in more of its runs than the other in its own."""
    lost_alone: tuple[str, ...]


def against(card: Card, other: Card) -> list[Beside]:
    """A line for every split and cap.

    Runs are paired in their order; of a card with one run that one is paired with each of the other's. The interval is
    that of games: runs of one agent play the same ones, and do not make it narrower.

    Raises:
        ScoreError: the cards are of different panels; says in what.
    """
    if found := list(differences(card.panel, other.panel)):
        raise ScoreError(f"expected two cards of one panel; they differ in {'; '.join(found)}")
    runs, others = len(card.runs), len(other.runs)
    if runs != others and 1 not in (runs, others):
        raise ScoreError(f"expected as many runs in both cards, or one in either; got {runs} and {others}")
    return [_beside(card, other, split, cap) for split in sorted(card.panel.splits) for cap in card.panel.caps]


def _beside(card: Card, other: Card, split: str, cap: int) -> Beside:
    ours, theirs = list(_outcomes(card, split, cap)), list(_outcomes(other, split, cap))
    pairs = max(len(ours), len(theirs))
    found = [paired_difference(ours[i % len(ours)], theirs[i % len(theirs)]) for i in range(pairs)]
    more = {game: _share(ours, game) - _share(theirs, game) for game in ours[0]}
    return Beside(
        split=split,
        cap=cap,
        n=found[0].n,
        difference=fmean(each.rate for each in found),
        low=fmean(each.low for each in found),
        high=fmean(each.high for each in found),
        won_alone=tuple(game for game, share in more.items() if share > 0),
        lost_alone=tuple(game for game, share in more.items() if share < 0),
    )


def _outcomes(card: Card, split: str, cap: int) -> Iterator[dict[str, bool]]:
    for run in card.runs:
        yield {game.id: game.won_within(cap) for game in run.games[split]}


def _share(outcomes: list[dict[str, bool]], game: str) -> float:
    return fmean(each[game] for each in outcomes)
