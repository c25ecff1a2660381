"""How sure a number is: 95% intervals over games and over seeds; how far predictions are from what was observed.

Much of what a success rate is uncertain by is which games there are. Where two policies play the same ones it falls
out, and a smaller difference can be told from noise than the intervals of the two rates suggest.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import mean, stdev
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.special import stdtrit

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
    centre = mean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / sqrt(len(values))
    return Spread(len(values), centre, centre - half, centre + half, min(values), max(values))


def soft_bce(target: pd.Series, probability: pd.Series) -> float:
    """Mean binary cross-entropy of probabilities against soft targets (Eq. 2), in nats; nan if one probability is."""
    p = probability.clip(1e-7, 1 - 1e-7)
    return float(-(target * np.log(p) + (1 - target) * np.log1p(-p)).mean(skipna=False))


def correlation(predicted: pd.Series, observed: pd.Series) -> float:
    """Pearson's, in [-1, 1]; 0 where either side is constant and the notion has no meaning; nan if a number is."""
    if predicted.isna().any() or observed.isna().any():
        return nan
    if predicted.nunique() < 2 or observed.nunique() < 2:
        return 0.0
    return float(np.corrcoef(predicted, observed)[0, 1])


def calibration_error(probability: pd.Series, target: pd.Series, bins: int = 10) -> float:
    """Mean distance between predicted and observed value over bins of the prediction, weighted by their size; nan if
    one prediction is.
    """
    if probability.isna().any():
        return nan
    table = calibration_table(probability, target, bins)
    return float((table["count"] * (table["predicted"] - table["observed"]).abs()).sum() / table["count"].sum())


def calibration_table(probability: pd.Series, target: pd.Series, bins: int) -> pd.DataFrame:
    """For every bin of the prediction that holds any: mean `predicted`, mean `observed` and their `count`."""
    frame = pd.DataFrame({"predicted": probability, "observed": target}).dropna()
    frame["bin"] = (frame["predicted"] * bins).astype(int).clip(0, bins - 1)
    grouped = frame.groupby("bin")
    return grouped.mean().assign(count=grouped.size()).reset_index()
