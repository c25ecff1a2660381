"""Two policies on the same games: how many more of them one wins, game by game.

Much of what a success rate is uncertain by is which games there are. Where both play the same ones it falls out, and a
smaller difference can be told from noise than the intervals of the two rates suggest.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

from agentprm_dagster.core.evaluation import Z

Game = TypeVar("Game", bound=Hashable)


class ComparisonError(ValueError):
    """Policies that did not play the same games."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more often one policy wins than another."""

    n: int
    rate: float
    """Its success rate minus the other's, in [-1, 1]."""
    low: float
    """Of the 95% interval."""
    high: float
    won_alone: int
    """Games that it alone won."""
    lost_alone: int
    """Games that the other alone won."""


def paired_difference(one: Mapping[Game, bool], other: Mapping[Game, bool]) -> Difference:
    """From whether each won each game. The interval is Bonett and Price's (2012), which holds for few games as well.

    Raises:
        ComparisonError: they did not play the same games, or none.
    """
    if one.keys() != other.keys() or not one:
        both = len(one.keys() & other.keys())
        raise ComparisonError(
            f"expected both to have played the same games: one played {len(one)}, the other {len(other)}, both {both}"
        )
    n = len(one)
    won_alone = sum(won and not other[game] for game, won in one.items())
    lost_alone = sum(other[game] and not won for game, won in one.items())
    p, q = (won_alone + 1) / (n + 2), (lost_alone + 1) / (n + 2)
    half = Z * sqrt((p + q - (p - q) ** 2) / (n + 2))
    low, high = max(p - q - half, -1.0), min(p - q + half, 1.0)
    return Difference(n, (won_alone - lost_alone) / n, low, high, won_alone, lost_alone)
