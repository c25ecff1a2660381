"""DPO on whole episodes: the trajectory-level form (ETO, Song et al. 2024, arXiv 2403.02502).

    loss = - log sigma( beta * sum_t log pi/ref(a_t | s_t) of the won - beta * sum_t log pi/ref(a_t | s_t) of the lost )

The sums go over the tokens of the agent's own answers; what the environment replies is nobody's choice. Where both
episodes share their first turns, these cancel.
"""

import torch

from agentprm_dagster.algorithm.dpo import dpo_loss
from agentprm_dagster.algorithm.terms import Items, Term, Terms


def trajectory_terms(won: torch.Tensor, lost: torch.Tensor, beta: float) -> tuple[Terms, dict[str, float]]:
    """The loss of some pairs of episodes, and what is to be watched.

    Args:
        won: log pi - log ref of each pair's won episode (P,), summed over its answers, in nats.
        lost: the same of the lost one.
        beta: weight of the log-ratios.
    """
    pairs = float(len(won))
    terms = {"pairs": Term(dpo_loss(won, lost, beta).sum(), pairs)}
    return terms, {
        "pairs": pairs,
        "pair_accuracy": float((won > lost).float().mean()),
        "margin": float((won - lost).detach().mean()),
    }


def trajectory_items(pairs: int) -> Items:
    """The items of these terms for so many pairs."""
    return {"pairs": float(pairs)}
