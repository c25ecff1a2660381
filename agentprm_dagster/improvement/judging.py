"""What ranks candidate answers: a reward model, or a policy's log-probabilities beside those of another."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Protocol

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.drawn_answers import DrawnAnswers
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.parsing import may_be_chosen
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.consequences import Consequences
from agentprm_dagster.training.candidates import Candidate, CandidateTrees


class Judging(Protocol):
    """What says how good candidate answers are."""

    def values(
        self, prefixes: Sequence[EpisodeTokens], candidates: Sequence[Candidate], trees: CandidateTrees
    ) -> tuple[torch.Tensor, int]:
        """The value of every candidate (C,), in [0, 1], and how many tokens were read for them.

        `trees` are those of the prefixes and candidates.

        An answer that may not be chosen is worth nothing: rollouts never branch into one, so that nothing has been
        learnt about it.
        """


@dataclass(frozen=True, slots=True)
class Judge:
    """The PRM as it ranks candidates: by Q(s, a), or behind the environment's reply to each."""

    prm: PreTrainedModel
    chat: Chat
    consequences: Consequences | None = None
    centred: bool = False
    """Whether an answer's value is told beside the other answers in its state, as the PRM says no more: InversePRM,
    and one that was trained on pairs."""

    @torch.no_grad()
    def values(
        self, prefixes: Sequence[EpisodeTokens], candidates: Sequence[Candidate], trees: CandidateTrees
    ) -> tuple[torch.Tensor, int]:
        """See `Judging`."""
        replied = self.consequences and self.consequences.of(prefixes, candidates)
        read = CandidateTrees(prefixes, replied.candidates) if replied else trees
        logits = read.values(self.prm)
        values = (advantages(logits, trees.answers) if self.centred else logits).sigmoid()
        if replied:
            outcomes = [nan if each is None else each for each in replied.outcomes]
            known = torch.tensor(outcomes, device=values.device)
            values = torch.where(known.isnan(), values, known)
        return _of_allowed(values, candidates, self.chat), read.tokens_read


@dataclass(frozen=True, slots=True)
class ImplicitReward:
    """A policy as reward model: beta (log pi_phi - log pi_(i-1)) of an answer is what it is worth.

    Where pi_phi was trained by DPO on won and lost episodes, that is the reward of each answer under which the pairs
    are likely: Yuan et al. 2024, arXiv 2412.01981, for one answer; iStar (arXiv 2509.19199) for the turns of an agent.
    """

    policy: Path
    """Checkpoint of pi_phi."""
    beta: float
    """Of its DPO."""


@dataclass(frozen=True, slots=True)
class ImplicitJudge:
    """An implicit reward as it ranks candidates."""

    policy: PreTrainedModel
    reference: PreTrainedModel
    chat: Chat
    beta: float
    """See `ImplicitReward`."""

    @torch.no_grad()
    def values(
        self, prefixes: Sequence[EpisodeTokens], candidates: Sequence[Candidate], trees: CandidateTrees
    ) -> tuple[torch.Tensor, int]:
        """See `Judging`; told beside the other answers in a state, as such a reward is."""
        ratios = trees.log_probabilities(self.policy) - trees.log_probabilities(self.reference)
        values = advantages(self.beta * ratios, trees.answers).sigmoid()
        return _of_allowed(values, candidates, self.chat), 2 * trees.tokens_read


def _of_allowed(values: torch.Tensor, candidates: Sequence[Candidate], chat: Chat) -> torch.Tensor:
    """The values (C,), 0 where an answer may not be chosen."""
    drawn = [chat.drawn(candidate.ids[:-1], cut=candidate.cut) for candidate in candidates]
    allowed = torch.tensor(list(map(may_be_chosen, drawn)), device=values.device)
    return torch.where(allowed, values, 0.0)


def advantages(logits: torch.Tensor, answers: DrawnAnswers) -> torch.Tensor:
    """Q(s, a) minus its mean over what the policy answers in s, of every answer (C,)."""
    states, draws = answers.states.to(logits.device), answers.draws.to(logits.device)
    sums = logits.new_zeros(2, len(draws)).index_add(1, states, torch.stack([draws * logits, draws]))
    return logits - (sums[0] / sums[1])[states]
