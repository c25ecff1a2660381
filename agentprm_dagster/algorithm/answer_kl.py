"""KL(pi || pi_ref) per answer, from answers that were drawn at any temperature.

The KL of whole answers is that of the next token, summed over the tokens of an answer that pi draws:

    KL(pi || pi_ref) = E_{y ~ pi} sum_t KL(pi(. | y_<t) || pi_ref(. | y_<t))

Drawn at temperature T, y is not pi's but pi_T's: each term weighs pi(y_<t) / pi_T(y_<t), both without the tokens that
are never drawn. The weights are normalised by their mean over all draws of a state at each t, an answer that has ended
by then keeping the weight of its whole (self-normalised importance sampling). At T = 1 all weights are 1. Answers drawn
under a second prompt (`steered_sampling`) weigh as if they had been drawn under the first.
"""

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from agentprm_dagster.algorithm.dpo import kl_divergence
from agentprm_dagster.algorithm.drawn_answers import DrawnAnswers


def answer_kl(
    answers: DrawnAnswers,
    log_p: torch.Tensor,
    log_q: torch.Tensor,
    *,
    temperature: float,
    banned: Sequence[int] = (),
) -> torch.Tensor:
    """Each answer's share (C,) of KL(p || q) per answer, in nats: their mean over all draws is the estimate.

    `log_p` and `log_q` (N, V) are those of the whole vocabulary at every drawn token; the answers were drawn from p at
    `temperature` above 0, without the tokens `banned`. Gradients flow through the next token's KL alone, as if the
    answers were given.
    """
    kl = kl_divergence(log_p, log_q)
    if temperature != 1:
        kl = kl * prefix_weights(answers, log_p.detach(), temperature=temperature, banned=banned)
    return answers.sums(kl)


def prefix_weights(
    answers: DrawnAnswers, log_p: torch.Tensor, *, temperature: float, banned: Sequence[int]
) -> torch.Tensor:
    """p(y_<t) / p_T(y_<t) at every drawn token (N,), normalised to a mean of 1 over a state's draws at each t."""
    allowed = log_p.index_fill(-1, torch.tensor(banned, dtype=torch.long, device=log_p.device), -torch.inf)
    allowed = allowed - allowed.amax(-1, keepdim=True)  # else a low temperature leaves no digits
    drawn, whole = answers.log_probabilities(allowed), allowed.logsumexp(-1)
    ratio = drawn - whole - (drawn / temperature - (allowed / temperature).logsumexp(-1))
    # Behind an answer's end its ratios are 0, and its weight stays.
    ratios = pad_sequence(ratio.split(answers.lengths), batch_first=True)
    before = ratios.cumsum(-1) - ratios
    state, draws = answers.states.to(before.device), answers.draws.to(before.device)
    none = before.new_zeros(int(state.max()) + 1, before.shape[1])
    largest = none.scatter_reduce(0, state[:, None].expand_as(before), before, "amax", include_self=False)
    weights = (before - largest[state]).exp()
    counts = none.index_add(0, state, draws[:, None].expand_as(before))
    weights = weights * (counts / none.index_add(0, state, draws[:, None] * weights))[state]
    counted = torch.arange(ratios.shape[1]) < torch.tensor(answers.lengths)[:, None]
    return weights[counted.to(weights.device)]
