"""Several scorers side by side, as a table in Markdown."""

from collections.abc import Iterator, Sequence
from math import isnan

from agentprm_dagster.oracle.scoring import Estimate, Score

COLUMNS = (
    "of",
    "scored by",
    "states",
    "ordered right",
    "pairs",
    "regret",
    "Spearman",
    "Pearson",
    "ECE",
    "Brier",
)
WHOLE = "all"
"""In a row's first cell where it is about all states."""


def rows(scores: Sequence[Score]) -> Iterator[tuple[str, ...]]:
    """A row for every scorer over all states, and then one for every part of them."""
    for score in scores:
        yield _row(WHOLE, score.name, score)
    for part in dict.fromkeys(part for score in scores for part in score.parts):
        for score in scores:
            if part in score.parts:
                yield _row(part, score.name, score.parts[part])


def markdown(scores: Sequence[Score], about: str) -> str:
    """The table under a sentence of what was judged by, and the reliability of those that say probabilities."""
    lines = [about, "", _line(COLUMNS), _line(["---"] * len(COLUMNS)), *map(_line, rows(scores))]
    told = [score for score in scores if score.reliability]
    if told:
        lines += ["", "Reliability by tenths of what is said, `said: Q`:", ""]
        lines += [
            f"- {score.name}: {', '.join(f'{said:.2f}: {q:.2f}' for said, q in score.reliability)}" for score in told
        ]
    return "\n".join(lines) + "\n"


def _row(part: str, name: str, score: Score) -> tuple[str, ...]:
    numbers = (score.regret, score.spearman, score.pearson, score.calibration_error, score.brier)
    ordered = in_words(score.ordered, percent=True)
    return part, name, str(score.states), ordered, str(score.pairs), *map(in_words, numbers)


def in_words(estimate: Estimate, *, percent: bool = False) -> str:
    """The number and, in brackets, its interval; a dash where there is none."""
    if isnan(estimate.value):
        return "-"
    form, unit = ("{:.1f}", 100) if percent else ("{:.3f}", 1)
    value, low, high = (form.format(unit * each) for each in (estimate.value, estimate.low, estimate.high))
    return f"{value}{'%' * percent} ({low} to {high})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
