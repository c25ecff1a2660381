"""The loss of policy improvement (the paper's Eq. 3): DPO on the answers drawn in each state, and a full KL term.

The best answer of a state by the PRM's value wins against its worst. Answers that are equal, or whose values the PRM
does not tell apart, are not trained on. Only a few states of a step yield a pair, and what they teach must not disturb
all else, so that the KL term of Eq. 3 is also there in full, over every token drawn.

A hard label pushes two answers apart for ever, however little the PRM tells them apart, and what it does not know
becomes what the policy does. Soft labels are the preference that the PRM's logits stand for as rewards (Bradley-Terry);
then the DPO loss is least at pi_(i-1) exp(logit Q / beta), the optimum of Eq. 3 with logit Q for Q.
"""

from collections.abc import Sequence
from typing import Literal

import torch

from agentprm_dagster.algorithm.answer_kl import answer_kl
from agentprm_dagster.algorithm.dpo import preferences, ranked_pairs, soft_dpo_loss
from agentprm_dagster.algorithm.drawn_answers import DrawnAnswers
from agentprm_dagster.algorithm.terms import Term, Terms

Labels = Literal["soft", "hard"]


def improvement_terms(
    answers: DrawnAnswers,
    log_p: torch.Tensor,
    log_reference: torch.Tensor,
    values: torch.Tensor,
    *,
    labels: Labels,
    beta: float,
    kl_weight: float,
    min_gap: float,
    temperature: float,
    banned: Sequence[int] = (),
) -> tuple[Terms, dict[str, float]]:
    """The terms of the loss, and what is to be watched: pairs, values, how far the policy has gone.

    Args:
        log_p: of the policy, over the whole vocabulary at every drawn token (N, V).
        log_reference: of pi_(i-1), as `log_p`.
        values: the PRM's value of every answer (C,), in [0, 1].
        labels: `hard`, the best answer of a state wins against the worst; `soft`, all pairs as likely as values say.
        beta: weight of the log-ratios in DPO.
        kl_weight: of KL(pi || pi_(i-1)) per answer.
        min_gap: least difference of the values of a pair.
        temperature: at which the answers were drawn.
        banned: tokens that are never drawn.

    Without any pair in the batch nothing is learnt: at the reference the KL term alone is rounding noise, which Adam
    would blow up to whole steps.
    """
    drawn_p, draws = answers.log_probabilities(log_p), answers.draws.to(log_p.device)
    ratio = answers.sums(drawn_p - answers.log_probabilities(log_reference))
    kl_each = answer_kl(answers, log_p, log_reference, temperature=temperature, banned=banned)
    kl, states = (draws * kl_each).sum(), answers.states.tolist()
    pairs = ranked_pairs(states, values.tolist(), min_gap, extremes=labels == "hard")
    drawn, count = float(draws.sum()), len(set(states))
    numbers = {
        "value": float((draws * values).sum() / drawn),
        "kl": float(kl.detach()) / drawn,
        "draws": drawn,
        "states": float(count),
        "states_with_pair": len({states[pair.better] for pair in pairs}) / count,
        "pairs": float(len(pairs)),
    }
    terms = {"kl": Term(kl_weight * kl, drawn, teaches=False)}
    if not pairs:
        return terms, numbers
    better = torch.tensor([pair.better for pair in pairs])
    worse = torch.tensor([pair.worse for pair in pairs])
    gap = values[better] - values[worse]
    preference = weight = torch.ones_like(gap)
    if labels == "soft":
        # As often as a pair of draws is this pair of answers: what is rarely said hardly matters.
        preference, weight = preferences(values[better], values[worse]), draws[better] * draws[worse]
    dpo = (weight * soft_dpo_loss(ratio[better], ratio[worse], beta, preference)).sum()
    return {**terms, "pairs": Term(dpo, float(weight.sum()))}, {
        **numbers,
        "pair_accuracy": float((ratio[better] > ratio[worse]).float().mean()),
        "gap": float(gap.mean()),
    }
