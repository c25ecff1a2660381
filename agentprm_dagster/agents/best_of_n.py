"""Best-of-N, the paper's BoN(pi, Q): at every turn the policy samples N answers and a judge chooses one.

An answer that is not in the agreed form, or was cut at the token limit, is never taken while another is there: the PRM
has not learnt such answers, and of a cut one log pi lacks the end token.

The more answers there are, the likelier the PRM overrates one of them, and choosing by it alone takes that one. With a
weight for the policy's own opinion, the answer of highest prior * log pi + logit Q is taken: the mode, among those
drawn, of pi exp(logit Q / prior), the optimum of Eq. 3 with logit Q for Q and `prior` for beta.

Beside the PRM stands a judge that needs none: what policy improvement has made an answer likelier by,
log pi_i - log pi_(i-1), the reward that DPO has learnt implicitly (Rafailov et al. 2023).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import softplus

from agentprm_dagster.agents.dialogues import Dialogues
from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.engine.base import Engine, Sampled
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.parsing import may_be_chosen
from agentprm_dagster.episodes.records import Observation, Response, State, Turn


@dataclass(frozen=True, slots=True)
class Future:
    """What is predicted behind an answer."""

    ids: tuple[int, ...] = ()
    """What stands behind the answer's end token."""
    discount: float = 1.0
    """What the value at its end counts for."""


class BestOfN(Policy):
    """argmax over N sampled answers of prior * log pi + what the judge says, in an engine of its own."""

    def __init__(
        self, engine: Engine, chat: Chat, judge: "Judge", *, n: int, prior: float = 0.0, **settings: Any
    ) -> None:
        super().__init__(engine, chat, **settings)
        self.judge, self.n, self.prior = judge, n, prior

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation in a slot."""
        super().begin(slot, state)
        self.judge.dialogues.begin(slot, state)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what its answer led to."""
        super().observe(slot, turn, observation)
        self.judge.dialogues.observe(slot, turn, observation)

    def act(self, slots: Sequence[int]) -> list[Response]:
        """Samples N answers for each slot and keeps the one that ranks first; of equals the first.

        Only those that may be chosen are ranked, or all where a slot has none.
        """
        sampled = self._draw(slots, self.n, self.temperature)
        answers = self._answers(sampled)
        futures = self._futures(slots, answers)
        before = self.judge.engine.tokens_read
        scores = self.judge.scores(slots, sampled, futures)
        self.usage.tokens_read += self.judge.engine.tokens_read - before
        allowed = torch.tensor([[may_be_chosen(answer) for answer in each] for each in answers])
        ranks = scores + self.prior * sampled.log_probabilities
        choice = ranks.masked_fill(~allowed & allowed.any(-1, keepdim=True), -torch.inf).argmax(-1).tolist()
        self._keep(slots, sampled, choice)
        self.judge.keep(slots, sampled, choice)
        return [each[c] for each, c in zip(answers, choice, strict=True)]

    def _futures(self, slots: Sequence[int], answers: Sequence[Sequence[Response]]) -> list[list[Future]]:
        """What the judge reads behind each answer [B][n]: nothing."""
        return [[Future()] * self.n for _ in slots]


class Judge(ABC):
    """A model over dialogues of its own, which says of answers how good they are."""

    ends_cut_answers = True
    """Whether it reads an end token behind an answer that has none."""

    def __init__(self, engine: Engine, chat: Chat, dialogue: Format) -> None:
        self.engine, self.end = engine, chat.end
        self.dialogues = Dialogues(engine, chat, dialogue)

    @abstractmethod
    def scores(self, slots: Sequence[int], sampled: Sampled, futures: Sequence[Sequence[Future]]) -> torch.Tensor:
        """How good each of n answers is (B, n)."""

    def keep(self, slots: Sequence[int], sampled: Sampled, choice: Sequence[int]) -> None:
        """Makes the chosen answers, which it has just read, part of its dialogues."""
        ended = [self.ends_cut_answers or finished[c] for finished, c in zip(sampled.finished, choice, strict=True)]
        answered = [len(ids[c]) + end for ids, c, end in zip(sampled.tokens, choice, ended, strict=True)]
        self.engine.keep(slots, choice, answered)
        for slot in (slot for slot, end in zip(slots, ended, strict=True) if not end):
            self.engine.extend(slot, [self.end])


class PrmJudge(Judge):
    """The PRM's logit of every answer, or of what it is predicted to lead to."""

    def scores(self, slots: Sequence[int], sampled: Sampled, futures: Sequence[Sequence[Future]]) -> torch.Tensor:
        """Q (B, n), read at the last tokens: logits."""
        continuations = [
            [[*ids, self.end, *future.ids] for ids, future in zip(answers, each, strict=True)]
            for answers, each in zip(sampled.tokens, futures, strict=True)
        ]
        discounts = torch.tensor([[future.discount for future in each] for each in futures])
        return discounted(self.engine.score(slots, continuations), discounts)


class LogRatioJudge(Judge):
    """log pi - log pi_ref of every answer, the engine's model being pi_ref."""

    ends_cut_answers = False

    def scores(self, slots: Sequence[int], sampled: Sampled, futures: Sequence[Sequence[Future]]) -> torch.Tensor:
        """Log-ratios (B, n), in nats; of an answer that was cut, without its end token."""
        continuations = [
            [[*ids, self.end] if ended else ids for ids, ended in zip(*each, strict=True)]
            for each in zip(sampled.tokens, sampled.finished, strict=True)
        ]
        return sampled.log_probabilities - self.engine.log_probs(slots, continuations)


def discounted(logits: torch.Tensor, discounts: torch.Tensor) -> torch.Tensor:
    """The logits of discount * sigma(logit); those of discount 1 to the last bit."""
    return logits + discounts.log() - softplus(logits + (1 - discounts).log())
