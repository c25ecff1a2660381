"""KL(pi || pi_ref) per answer, from answers that were drawn at any temperature.

The KL of whole answers is that of the next token, summed over the tokens of an answer that pi draws:

    KL(pi || pi_ref) = E_{y ~ pi} sum_t KL(pi(. | y_<t) || pi_ref(. | y_<t))

Drawn at temperature T, y is not pi's but pi_T's: each term weighs pi(y_<t) / pi_T(y_<t), both without the tokens that
are never drawn. The weights are normalised by their mean over all draws of a state at each t, an answer that has ended
by then keeping the weight of its whole (self-normalised importance sampling). At T = 1 all weights are 1. Answers drawn
under a second prompt (`steered_sampling`) weigh as if they had been drawn under the first.
"""

import torch
from torch.nn.utils.rnn import pad_sequence

from agentprm_dagster.algorithm.drawn_answers import DrawnAnswers
from agentprm_dagster.algorithm.token_comparison import TokenComparison


def answer_kl(answers: DrawnAnswers, compared: TokenComparison) -> torch.Tensor:
    """Each answer's share (C,) of KL(p || reference) per answer, in nats: their mean over all draws is the estimate.

    Gradients flow through the next token's KL alone, as if the answers were given.
    """
    return answers.sums(compared.kl * prefix_weights(answers, compared.log_tempered))


def prefix_weights(answers: DrawnAnswers, log_tempered: torch.Tensor) -> torch.Tensor:
    """p(y_<t) / p_T(y_<t) at every drawn token (N,), normalised to a mean of 1 over a state's draws at each t."""
    # Behind an answer's end its ratios are 0, and its weight stays.
    ratios = pad_sequence(log_tempered.split(answers.lengths), batch_first=True)
    before = ratios.cumsum(-1) - ratios
    state, draws = answers.states.to(before.device), answers.draws.to(before.device)
    none = before.new_zeros(int(answers.states.max()) + 1, before.shape[1])
    largest = none.scatter_reduce(0, state[:, None].expand_as(before), before, "amax", include_self=False)
    weights = (before - largest[state]).exp()
    counts = none.index_add(0, state, draws[:, None].expand_as(before))
    weights = weights * (counts / none.index_add(0, state, draws[:, None] * weights))[state]
    return weights[(torch.arange(ratios.shape[1]) < torch.tensor(answers.lengths)[:, None]).nonzero(as_tuple=True)]
