"""How good V_mu is on games it was not trained on."""

import numpy as np
import pandas as pd

from agentprm_dagster.algorithm.calibration import calibration_error, correlation, soft_bce
from agentprm_dagster.episodes.stage import Gate, StageReport


def reference_value_report(
    values: np.ndarray, returns: np.ndarray, *, constant: float, train_loss: float, max_loss: float
) -> StageReport:
    """Judges V_mu (D,) by the reference's own returns (D,) on games held out.

    `constant` is their mean in training, `max_loss` a multiple of its loss.
    """
    predicted, seen = pd.Series(values), pd.Series(returns)
    loss, baseline = soft_bce(seen, predicted), soft_bce(seen, pd.Series(constant, index=seen.index))
    metrics = {
        "train_loss": train_loss,
        "held_out_loss": loss,
        "held_out_constant_loss": baseline,
        "held_out_states": len(seen),
        "correlation": correlation(predicted, seen),
        "calibration_error": calibration_error(predicted, seen),
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
