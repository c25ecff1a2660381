"""How well InversePRM tells the expert from the learners on games held out, and whether it orders actions.

The ordering is read beside Monte-Carlo returns, which training never saw: it is for people, and gates nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.reports.prm_report import action_ordering


@dataclass(frozen=True, slots=True)
class Discrimination:
    """What training gave, and the rewards of transitions of games held out."""

    train_loss: float
    """Weighted binary cross-entropy, in nats; log 2 says nothing was learnt."""
    rewards: np.ndarray
    """Q(s, a) - gamma E Q(s', a') of held-out transitions (D,)."""
    expert: np.ndarray
    """Whether the expert made each of them (D,)."""
    trained_on: Mapping[bool, int]
    """Transitions of the expert (True) and of the learners (False) that were trained on."""
    tokens: float


def inverse_report(discrimination: Discrimination, scored: pd.DataFrame, *, max_loss: float) -> StageReport:
    """Judges by the sides' held-out rewards, each side weighing half; `max_loss` is a multiple of log 2.

    `scored` are held-out decisions: the targets table with the column `logit`, Q(s, a).
    """
    expert, learner = discrimination.rewards[discrimination.expert], discrimination.rewards[~discrimination.expert]
    loss = float((np.logaddexp(0, -expert).mean() + np.logaddexp(0, learner).mean()) / 2)
    metrics = {
        "train_loss": discrimination.train_loss,
        "held_out_loss": loss,
        "held_out_constant_loss": math.log(2),
        "held_out_accuracy": math.nan if math.isnan(loss) else float(((expert > 0).mean() + (learner < 0).mean()) / 2),
        "expert_reward": float(expert.mean()),
        "learner_reward": float(learner.mean()),
        "margin": float(expert.mean() - learner.mean()),
        "expert_transitions": float(discrimination.trained_on[True]),
        "learner_transitions": float(discrimination.trained_on[False]),
        "held_out_transitions": float(len(discrimination.rewards)),
        **action_ordering(scored),
        "tokens": discrimination.tokens,
    }
    gate = Gate(
        "tells_expert_from_learners",
        loss < max_loss * math.log(2),
        f"held-out loss {loss:.4f}; expected less than {max_loss:g} times {math.log(2):.4f}, the loss of saying "
        "nothing: show more demonstrations, or train with a lower rate",
        loss,
    )
    words = (
        f"- Tells expert from learners in **{metrics['held_out_accuracy']:.1%}** of held-out transitions.\n"
        f"- Held-out loss **{loss:.3f}**, against {math.log(2):.3f} of saying nothing.\n"
        f"- Orders **{metrics['ordering_accuracy']:.1%}** of {metrics['ordered_pairs']:,.0f} pairs of actions as their "
        "returns are.\n\n"
    )
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return StageReport(metrics, (gate,), f"{words}| held out | |\n|---|---|\n{rows}\n")
