"""Lambda-returns: what an answer is worth by what came of it, cut short by what the states behind it are worth.

    G_t = gamma ((1 - lambda) V(s_{t+1}) + lambda G_{t+1}),    G_{T-1} = R

V(s) is the mean return of all decisions that the policy took in s of itself, over the whole rollout set: it falls
together with the rollout's own return where a state was visited once. So lambda < 1 takes noise only out of states that
several episodes share: starts, branched-from states, and where branches of one answer go on alike.

With delta_t = r_t + gamma V(s_{t+1}) - V(s_t), r_t the outcome at the end and else 0, G_t - V(s_t) is the generalised
advantage estimate, the sum of (gamma lambda)^k delta_{t+k} (Schulman et al. 2016), by which "AgentPRM" (Xi et al. 2025,
arXiv 2511.08325) labels steps; its V is a model, ours the mean over visits.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd


def lambda_returns(values: Sequence[float], outcome: float, *, gamma: float, lam: float) -> np.ndarray:
    """G (T,) of T decisions that end with `outcome`; `values` (T,) are V of the states that they were taken in."""
    found = [outcome]
    for behind in values[:0:-1]:
        found.append(gamma * ((1 - lam) * behind + lam * found[-1]))
    return np.array(found[::-1])


def state_values(targets: pd.DataFrame, branches: Mapping[str, int]) -> pd.Series:
    """V (D,) of the state of every row of the targets table.

    `branches` are the ids of branches and the turns that they begin at: their first answers were chosen to be
    different, and say nothing of what the policy does there.
    """
    first = targets["episode_id"].map(branches) == targets["turn"]
    means = targets[~first].groupby("state")["outcome"].mean()
    return targets["state"].map(means)


def td_targets(targets: pd.DataFrame, branches: Mapping[str, int], *, gamma: float, lam: float) -> pd.DataFrame:
    """The table with V of every state as `value`, and as `target` the mean of G over the rollouts through (s, a).

    Rows of an episode stand together, in the order of their turns.

    Raises:
        ValueError: a state that no rollout of the table has come to by itself.
    """
    values = state_values(targets, branches)
    if values.isna().any():
        raise ValueError(f"{int(values.isna().sum())} decisions were taken in states that only branches begin at")
    of_state, outcomes, ids = values.to_numpy(), targets["outcome"].to_numpy(), targets["episode_id"].to_numpy()
    cuts = [0, *(np.nonzero(ids[1:] != ids[:-1])[0] + 1), len(ids)]
    parts = [
        lambda_returns(of_state[first:last].tolist(), outcomes[last - 1], gamma=gamma, lam=lam)
        for first, last in pairwise(cuts)
        if last > first
    ]
    returns = pd.Series(np.concatenate(parts) if parts else np.zeros(0), index=targets.index)
    groups = targets.assign(td=returns).groupby(["state", "action"], sort=False)["td"]
    return targets.assign(value=values, target=groups.transform("mean").clip(0, 1))
