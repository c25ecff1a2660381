"""How sure a number is: 95% intervals over games and over seeds.

Much of what a success rate is uncertain by is which games there are. Where two policies play the same ones it falls
out, and a smaller difference can be told from noise than the intervals of the two rates suggest.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import TypeVar

Z = 1.959964
"""The normal quantile of a two-sided 95% interval."""


def wilson_interval(successes: float, n: float) -> tuple[float, float]:
    """The 95% interval of a success rate (Wilson 1927); unlike the normal one it stays within [0, 1].

    `successes` may be a fraction, where a tie counts half, and so may `n`, where trials weigh differently.

    Raises:
        ValueError: nothing was counted.
    """
    if n < 1:
        raise ValueError(f"expected at least one episode to estimate a success rate from, got {n}")
    rate, z2 = successes / n, Z * Z
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # Rounding must not push the ends past the rate itself, nor out of [0, 1].
    return min(max(centre - half, 0.0), rate), max(min(centre + half, 1.0), rate)


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


@dataclass(frozen=True, slots=True)
class Spread:
    """Some numbers, one a seed."""

    n: int
    mean: float
    low: float
    """Of the 95% interval of the mean of all seeds, by Student's t (1908)."""
    high: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """The mean of at least two numbers, with the interval that their differences allow.

    Raises:
        ValueError: of one number alone nobody can tell how far another would be from it.
    """
    if len(values) < 2:
        raise ValueError(f"expected the results of at least two seeds, got {len(values)}")
    from scipy.special import stdtrit  # takes a quarter of a second

    centre = mean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / sqrt(len(values))
    return Spread(len(values), centre, centre - half, centre + half, min(values), max(values))
