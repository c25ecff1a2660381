"""Process reward shaping: Monte-Carlo targets blended with what a reference policy mu says of every action.

    A_mu(s, a) = gamma V_mu(s') - V_mu(s), and R - V_mu(s) where a ends the episode with reward R

A return of few rollouts says little about one action; whether it brought the demonstrator nearer to the goal is known
at once. With the weight alpha for A_mu the target is (1 - alpha) Q + alpha A_mu, which lies in [-alpha, 1], and is
mapped to [0, 1] as a whole: order and distances between actions are the blend's (section 4 of the paper, which does
not say how its blend is brought to [0, 1]).
"""

import numpy as np
import pandas as pd


def shaped_targets(targets: pd.DataFrame, gained: np.ndarray, *, alpha: float) -> pd.DataFrame:
    """The targets table with `advantage` in [-1, 1] and `target` in [0, 1] beside `q`.

    `gained` is A_mu (D,) of every row's decision, nan where it was not read: the mean over the rollouts through (s, a)
    is taken, as in Eq. 1.

    Raises:
        ValueError: a (state, action) of which no decision was read.
    """
    groups = targets.assign(advantage=gained).groupby(["state", "action"], sort=False)["advantage"]
    advantage = groups.transform("mean")
    if advantage.isna().any():
        raise ValueError(f"{int(advantage.isna().sum())} decisions were not read by the reference's value model")
    blend = (1 - alpha) * targets["q"] + alpha * advantage
    return targets.assign(advantage=advantage, target=((blend + alpha) / (1 + alpha)).clip(0, 1))


def advantage(before: np.ndarray, after: np.ndarray, outcome: np.ndarray, gamma: float) -> np.ndarray:
    """A_mu (D,) from the values of the states before and behind each action (D,).

    `outcome` (D,) is the reward of the episodes that each action ended, nan where it ended none: one that was cut at
    the step cap ended nothing, the reference could have gone on.
    """
    return np.where(np.isnan(outcome), gamma * after, outcome) - before
