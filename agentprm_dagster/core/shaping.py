"""Process reward shaping: Monte-Carlo targets blended with what a reference policy mu says of every action.

    A_mu(s, a) = gamma V_mu(s') - V_mu(s), and 1 - V_mu(s) where a wins

A return of few rollouts says little about one action; whether it brought the demonstrator nearer to the goal is known
at once. With the weight alpha for A_mu the target is (1 - alpha) Q + alpha A_mu, which lies in [-alpha, 1], and is
mapped to [0, 1] as a whole: order and distances between actions are the blend's (section 4 of the paper, which does
not say how its blend is brought to [0, 1]).
"""

import numpy as np
import pandas as pd

from agentprm_dagster.core.prm_report import calibration_error, correlation, soft_bce
from agentprm_dagster.core.stage import Gate, StageReport


def shaped_targets(targets: pd.DataFrame, gained: np.ndarray, *, alpha: float) -> pd.DataFrame:
    """The targets table with `advantage` in [-1, 1] and `shaped` in [0, 1] beside `q`.

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
    return targets.assign(advantage=advantage, shaped=((blend + alpha) / (1 + alpha)).clip(0, 1))


def advantage(before: np.ndarray, after: np.ndarray, wins: np.ndarray, gamma: float) -> np.ndarray:
    """A_mu (D,) from the values of the states before and behind each action (D,), and whether it won (D,).

    An episode cut at the step cap ends nothing: the reference could have gone on.
    """
    return np.where(wins, 1.0, gamma * after) - before


def reference_value_report(
    values: np.ndarray, returns: np.ndarray, *, constant: float, train_loss: float, max_loss: float
) -> StageReport:
    """Judges V_mu (D,) by the reference's own returns (D,) on games held out.

    `constant` is their mean in training, `max_loss` a multiple of its loss.
    """
    said, seen = pd.Series(values), pd.Series(returns)
    loss, baseline = soft_bce(seen, said), soft_bce(seen, pd.Series(constant, index=seen.index))
    metrics = {
        "train_loss": train_loss,
        "held_out_loss": loss,
        "held_out_constant_loss": baseline,
        "held_out_states": len(seen),
        "correlation": correlation(said, seen),
        "calibration_error": calibration_error(said, seen),
    }
    gate = Gate(
        "better_than_constant",
        loss < max_loss * baseline,
        f"held-out loss {loss:.4f}; expected less than {max_loss:g} times {baseline:.4f}, the loss of always saying "
        f"{constant:.3f}: show more demonstrations, or train with a lower rate",
        loss,
    )
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return StageReport(metrics, (gate,), f"| held out | |\n|---|---|\n{rows}\n")
