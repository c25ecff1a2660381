"""What is drawn of a process reward model: values over the turns of episodes, and how well it orders what is how far
apart.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from agentprm_dagster.algorithm.statistics import Z, wilson_interval
from agentprm_dagster.reports.prm_report import pairs_of, probability

EDGES = (0.0, 0.05, 0.1, 0.2, 0.4, 1.0)
"""Between these, distances of two returns are taken together."""


def value_by_turn(scored: pd.DataFrame, won: Mapping[str, bool]) -> pd.DataFrame:
    """The mean Q(s, a) of every turn, in [0, 1], over the episodes that were won and over those that were lost.

    Columns: won, turn, value, low, high (95% interval of the mean; value itself of a single episode), episodes.
    `scored` has a row for every decision, with episode_id, turn and logit; `won` names the episodes that count.
    """
    known = scored[scored["episode_id"].isin(list(won))]
    frame = pd.DataFrame(
        {"won": known["episode_id"].map(won), "turn": known["turn"], "value": probability(known["logit"])}
    )
    grouped = frame.dropna().astype({"won": bool}).groupby(["won", "turn"])["value"]
    table = grouped.agg(value="mean", sd="std", episodes="size").reset_index()
    half = (Z * table.pop("sd") / np.sqrt(table["episodes"])).fillna(0)
    return table.assign(low=(table["value"] - half).clip(0, 1), high=(table["value"] + half).clip(0, 1))


def ordering_by_distance(scored: pd.DataFrame) -> pd.DataFrame:
    """Of pairs of actions tried in one state, the share that is ordered as the returns are, by how far these are apart.

    Columns: distance (mean of the pairs), accuracy, low, high (95%), pairs; a row for every bin of EDGES that has any.
    """
    gap, distance = pairs_of(scored, scored["q"])
    known = ~np.isnan(gap)
    right, apart = ((gap > 0) + 0.5 * (gap == 0))[known], distance[known]
    rows = []
    for low, high in pairwise(EDGES):
        within = (apart > low) & (apart <= high)
        if count := int(within.sum()):
            ends = wilson_interval(float(right[within].sum()), count)
            rows.append((float(apart[within].mean()), float(right[within].mean()), *ends, count))
    return pd.DataFrame(rows, columns=["distance", "accuracy", "low", "high", "pairs"])
