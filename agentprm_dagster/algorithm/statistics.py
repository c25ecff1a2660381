"""How sure a number is: 95% intervals over games, over seeds, and over whatever else was drawn.

Much of what a success rate is uncertain by is which games there are. Where two policies play the same ones it falls
out, and a smaller difference can be told from noise than the intervals of the two rates suggest.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import mean, stdev
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

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


def bootstrap_interval(
    statistic: Callable[["np.ndarray"], float], n: int, seed: int, resampled: int = 1000
) -> tuple[float, float]:
    """The 95% interval of a statistic over n things drawn independently: percentiles of a bootstrap (Efron 1979).

    Args:
        statistic: from the indices of things drawn with replacement (n,) to a number; nan where it has no meaning for
            them, which is left out.

    Both ends are nan where it has none for any draw.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    found = np.array([statistic(rng.integers(n, size=n)) for _ in range(resampled)])
    found = found[~np.isnan(found)]
    if not len(found):
        return nan, nan
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
