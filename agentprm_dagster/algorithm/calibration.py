"""How far predictions are from what was observed."""

from math import nan

import numpy as np
import pandas as pd


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
