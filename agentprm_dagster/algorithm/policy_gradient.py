"""The clipped policy gradient of GRPO (arXiv 2402.03300, Eqs. 3 and 4) on answers that another policy has drawn.

    loss = - mean over answers, of the mean over an answer's tokens, of min(r A, clip(r, 1 - c, 1 + c) A)
           + kl_weight * mean over answers, of the mean over an answer's tokens, of k3
    r    = pi(token) / pi_old(token)
    k3   = pi_ref(token) / pi(token) - log (pi_ref(token) / pi(token)) - 1

A is the answer's advantage, the same at all its tokens. Here pi_old and pi_ref are both pi_(i-1), whose
log-probabilities are computed once: what was drawn at another temperature than 1 is learnt from as if it had been drawn
at 1.
"""

import torch

from agentprm_dagster.algorithm.drawn_answers import DrawnAnswers
from agentprm_dagster.algorithm.terms import KL, Items, Term, Terms


def clipped_loss(
    log_p: torch.Tensor, log_before: torch.Tensor, advantages: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """-min(r A, clip(r) A) of every token (N,), and whether it is clipped (N,): then no gradient flows.

    Args:
        log_p: of the policy that is trained (N,).
        log_before: of the one that has drawn the tokens (N,).
        advantages: of the answers that the tokens belong to (N,).
    """
    ratio = (log_p - log_before).exp()
    free, held = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -torch.minimum(free, held), held < free


def k3(log_p: torch.Tensor, log_reference: torch.Tensor) -> torch.Tensor:
    """Schulman's estimator of KL(pi || pi_ref) at every token (N,), in nats; never below 0."""
    log_ratio = log_reference - log_p
    return log_ratio.exp() - log_ratio - 1


def policy_gradient_terms(
    answers: DrawnAnswers,
    log_p: torch.Tensor,
    log_before: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip: float,
    kl_weight: float,
) -> tuple[Terms, dict[str, float]]:
    """The terms of the loss, and what is to be watched; log-probabilities are those of the answers' tokens (N,).

    `advantages` are the answers' (C,); `kl` is the sum of k3 over an answer's tokens, in nats an answer.
    """
    count, lengths = len(answers.lengths), torch.tensor(answers.lengths, device=log_p.device)
    loss, clipped = clipped_loss(log_p, log_before, advantages.repeat_interleave(lengths), clip)
    gone = answers.sums(k3(log_p, log_before))
    terms = {
        "answers": Term((answers.sums(loss) / lengths).sum(), float(count)),
        KL: Term(kl_weight * (gone / lengths).sum(), float(count)),
    }
    return terms, {
        "draws": float(count),
        "kl": float(gone.detach().mean()),
        "clipped": float(clipped.float().mean()),
    }


def policy_gradient_items(count: int) -> Items:
    """The items of these terms for so many answers."""
    return {"answers": float(count), KL: float(count)}
