"""The loss of policy improvement (the paper's Eq. 3): DPO on the answers drawn in each state, and a full KL term.

The best answer of a state by the PRM's value wins against its worst. Answers that are equal, or whose values the PRM
does not tell apart, are not trained on. Only a few states of a step yield a pair, and what they teach must not disturb
all else, so that the KL term of Eq. 3 is also there in full, over every token drawn.

A hard label pushes two answers apart for ever, however little the PRM tells them apart, and what it does not know
becomes what the policy does. Soft labels are the preference that the PRM's logits stand for as rewards (Bradley-Terry);
then the DPO loss is least at pi_(i-1) exp(logit Q / beta), the optimum of Eq. 3 with logit Q for Q.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from agentprm_dagster.config import Improvement
from agentprm_dagster.training.answer_kl import answer_kl
from agentprm_dagster.training.candidates import Candidate, CandidateTrees
from agentprm_dagster.training.dpo import preferences, ranked_pairs, soft_dpo_loss
from agentprm_dagster.training.shards import Numbers
from agentprm_dagster.training.terms import Term, Terms


def improvement_terms(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    trees: CandidateTrees,
    candidates: Sequence[Candidate],
    values: torch.Tensor,
    settings: Improvement,
    *,
    banned: Sequence[int] = (),
) -> tuple[Terms, Numbers]:
    """The terms of the loss and what is to be watched: pairs, values, how far the policy has gone.

    The candidates were drawn at the settings' temperature, without the tokens `banned`.

    Without any pair in the batch nothing is learnt: at the reference the KL term alone is rounding noise, which Adam
    would blow up to whole steps.
    """
    with torch.no_grad():
        reference_tokens = trees.token_log_probabilities(reference)
    tokens = trees.token_log_probabilities(model)
    ratio = trees.answer_sums(trees.drawn(tokens) - trees.drawn(reference_tokens))
    draws = torch.tensor([float(candidate.draws) for candidate in candidates])
    kl_each = answer_kl(trees, tokens, reference_tokens, draws, temperature=settings.temperature, banned=banned)
    kl = (draws * kl_each).sum()
    pairs = ranked_pairs(candidates, values.tolist(), settings.min_gap, extremes=settings.labels == "hard")
    states = len({candidate.state for candidate in candidates})
    drawn = float(draws.sum())
    numbers = {
        "value": float((draws * values).sum() / drawn),
        "kl": float(kl.detach()) / drawn,
        "draws": drawn,
        "states": float(states),
        "states_with_pair": len({candidates[pair.better].state for pair in pairs}) / states,
        "pairs": float(len(pairs)),
    }
    terms = {"kl": Term(settings.kl_weight * kl, drawn, teaches=False)}
    if not pairs:
        return terms, numbers
    better = torch.tensor([pair.better for pair in pairs])
    worse = torch.tensor([pair.worse for pair in pairs])
    gap = values[better] - values[worse]
    preference = weight = torch.ones_like(gap)
    if settings.labels == "soft":
        # As often as a pair of draws is this pair of answers: what is rarely said hardly matters.
        preference, weight = preferences(values[better], values[worse]), draws[better] * draws[worse]
    dpo = (weight * soft_dpo_loss(ratio[better], ratio[worse], settings.beta, preference)).sum()
    likelihood = trees.answer_sums(trees.drawn(tokens))[better].sum()
    return {
        **terms,
        "pairs": Term(dpo, float(weight.sum())),
        "better": Term(-settings.sft_weight * likelihood, len(pairs)),
    }, {
        **numbers,
        "pair_accuracy": float((ratio[better] > ratio[worse]).float().mean()),
        "gap": float(gap.mean()),
    }
