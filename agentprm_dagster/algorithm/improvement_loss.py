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
from agentprm_dagster.algorithm.dpo import Pair, preferences, ranked_pairs, soft_dpo_loss
from agentprm_dagster.algorithm.drawn_answers import DrawnAnswers
from agentprm_dagster.algorithm.terms import KL, Items, Term, Terms
from agentprm_dagster.algorithm.token_comparison import TokenComparison

Labels = Literal["soft", "hard"]


def improvement_terms(
    answers: DrawnAnswers,
    compared: TokenComparison,
    values: torch.Tensor,
    *,
    labels: Labels,
    beta: float,
    kl_weight: float,
    min_gap: float,
) -> tuple[Terms, dict[str, float]]:
    """The terms of the loss, and what is to be watched: pairs, values, how far the policy has gone.

    Args:
        compared: what the policy and pi_(i-1) say of their tokens.
        values: the PRM's value of every answer (C,), in [0, 1].
        labels: `hard`, the best answer of a state wins against the worst; `soft`, all pairs as likely as values say.
        beta: weight of the log-ratios in DPO.
        kl_weight: of KL(pi || pi_(i-1)) per answer.
        min_gap: least difference of the values of a pair.

    Without any pair in the batch nothing is learnt: at the reference the KL term alone is rounding noise, which Adam
    would blow up to whole steps.
    """
    draws = answers.draws.to(values.device)
    ratio = answers.sums(compared.log_p - compared.log_reference)
    kl, states = (draws * answer_kl(answers, compared)).sum(), answers.states.tolist()
    pairs = improvement_pairs(answers, values, labels=labels, min_gap=min_gap)
    drawn, count = float(answers.draws.sum()), len(set(states))
    numbers = {
        "value": float((draws * values).sum() / drawn),
        "kl": float(kl.detach()) / drawn,
        "draws": drawn,
        "states": float(count),
        "states_with_pair": len({states[pair.better] for pair in pairs}) / count,
        "pairs": float(len(pairs)),
    }
    terms = {KL: Term(kl_weight * kl, drawn)}
    if not pairs:
        return terms, numbers
    better = torch.tensor([pair.better for pair in pairs])
    worse = torch.tensor([pair.worse for pair in pairs])
    gap, weight = values[better] - values[worse], pair_weights(answers, pairs, labels).to(values.device)
    preference = preferences(values[better], values[worse]) if labels == "soft" else torch.ones_like(gap)
    dpo = (weight * soft_dpo_loss(ratio[better], ratio[worse], beta, preference)).sum()
    return {**terms, "pairs": Term(dpo, float(weight.sum()))}, {
        **numbers,
        "pair_accuracy": float((ratio[better] > ratio[worse]).float().mean()),
        "gap": float(gap.mean()),
    }


def improvement_pairs(answers: DrawnAnswers, values: torch.Tensor, *, labels: Labels, min_gap: float) -> list[Pair]:
    """The pairs of answers that are learnt from."""
    return ranked_pairs(answers.states.tolist(), values.tolist(), min_gap, extremes=labels == "hard")


def pair_weights(answers: DrawnAnswers, pairs: Sequence[Pair], labels: Labels) -> torch.Tensor:
    """How much each pair counts (P,)."""
    if labels == "hard":
        return torch.ones(len(pairs))
    # As often as a pair of draws is this pair of answers: what is rarely said hardly matters.
    better, worse = ([getattr(pair, side) for pair in pairs] for side in ("better", "worse"))
    return answers.draws[better] * answers.draws[worse]


def improvement_items(answers: DrawnAnswers, values: torch.Tensor, *, labels: Labels, min_gap: float) -> Items:
    """Those of the terms, which depend on the values alone and not on what the policy says."""
    pairs = improvement_pairs(answers, values, labels=labels, min_gap=min_gap)
    items = {KL: float(answers.draws.sum())}
    return {**items, "pairs": float(pair_weights(answers, pairs, labels).sum())} if pairs else items
