"""Lambda-returns: what an answer is worth by what came of it, cut short by what the states behind it are worth.

    G_t = gamma ((1 - lambda) V(s_{t+1}) + lambda G_{t+1}),    G_{T-1} = R

V(s) is a model's, or the mean return of all decisions that the policy took in s of itself, over the whole rollout set.
That falls together with the rollout's own return where a state was visited once, so that lambda < 1 takes noise only
out of states that several episodes share: branched-from states, and where branches of one answer go on alike.

With delta_t = r_t + gamma V(s_{t+1}) - V(s_t), r_t the outcome at the end and else 0, G_t - V(s_t) is the generalised
advantage estimate, the sum of (gamma lambda)^k delta_{t+k} (Schulman et al. 2016), by which "AgentPRM" (Xi et al. 2025,
arXiv 2511.08325) labels steps.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def lambda_returns(behind: Sequence[float], outcome: float, *, gamma: float, lam: float) -> np.ndarray:
    """G (T,) of T decisions that end with `outcome`; `behind` (T,) are V of the states behind them, of which the last
    is not read.
    """
    found = [outcome]
    for value in behind[-2::-1]:
        found.append(gamma * ((1 - lam) * value + lam * found[-1]))
    return np.array(found[::-1])


def state_values(targets: pd.DataFrame, branches: Mapping[str, int]) -> pd.Series:
    """V (D,) of the state of every row of the targets table.

    `branches` are the ids of branches and the turns that they begin at: their first answers were chosen to be
    different, and say nothing of what the policy does there.
    """
    first = targets["episode_id"].map(branches) == targets["turn"]
    means = targets[~first].groupby("state")["outcome"].mean()
    return targets["state"].map(means)


def visited_behind(targets: pd.DataFrame, branches: Mapping[str, int]) -> np.ndarray:
    """`state_values` of the state behind every row's decision (D,), nan behind the last of an episode."""
    ids, values = targets["episode_id"].to_numpy(), state_values(targets, branches).to_numpy()
    goes_on = np.append(ids[1:] == ids[:-1], False)
    return np.where(goes_on, np.append(values[1:], np.nan), np.nan)


def td_targets(targets: pd.DataFrame, behind: np.ndarray, *, gamma: float, lam: float) -> pd.DataFrame:
    """The table with V of the state behind each decision as `behind`, and as `target` the mean of G over the rollouts
    through (s, a).

    `behind` is (D,), and not read behind the last decision of an episode. Rows of an episode stand together, in the
    order of their turns.

    Raises:
        ValueError: a value is missing.
    """
    ids, outcomes = targets["episode_id"].to_numpy(), targets["outcome"].to_numpy()
    last = np.append(ids[1:] != ids[:-1], True)
    if missing := int(np.isnan(behind[~last]).sum()):
        raise ValueError(f"the values behind {missing} decisions are not known")
    parts, first = [np.zeros(0)], 0
    for end in (np.nonzero(last)[0] + 1).tolist():
        parts.append(lambda_returns(behind[first:end].tolist(), outcomes[end - 1], gamma=gamma, lam=lam))
        first = end
    groups = targets.assign(td=np.concatenate(parts)).groupby(["state", "action"], sort=False)["td"]
    return targets.assign(behind=behind, target=groups.transform("mean").clip(0, 1))
