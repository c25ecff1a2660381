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
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from agentprm_dagster.agents.policy import Policy, read_pending
from agentprm_dagster.engine.architectures import context_of
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.conversations import Conversations
from agentprm_dagster.engine.embedded.sampling import Sampled
from agentprm_dagster.engine.embedded.slots import Segment, SlotModel
from agentprm_dagster.engine.heads import language_head
from agentprm_dagster.episodes.parsing import may_be_chosen
from agentprm_dagster.episodes.records import Observation, Response, Turn


@dataclass(frozen=True, slots=True)
class Future:
    """What is imagined behind an answer."""

    ids: tuple[int, ...] = ()
    """What stands behind the answer's end token."""
    discount: float = 1.0
    """What the value at its end counts for."""


class BestOfN(Policy):
    """argmax over N sampled answers of prior * log pi + what the judge says; the judge reads in a cache of its own.

    `judged_by` is a PRM or, where it has a language model's head, the policy that pi was improved from.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        chat: Chat,
        judged_by: PreTrainedModel,
        *,
        n: int,
        prior: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(model, chat, **settings)
        use_grouped_attention(judged_by)
        self.n = n
        conversations = Conversations(self.chat, self.conversations.format)
        kind = PrmJudge if hasattr(judged_by, "score") else LogRatioJudge
        self.judge = kind(judged_by.eval(), conversations, slots=self.slots, prior=prior)

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a conversation in a slot."""
        super().begin(slot, first_observation, turns, observation)
        self.judge.conversations.begin(slot, first_observation, turns, observation)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what its answer led to."""
        super().observe(slot, turn, observation)
        self.judge.conversations.observe(slot, turn, observation)

    @torch.inference_mode()
    def act(self, slots: Sequence[int]) -> list[Response]:
        """Samples N answers for each slot and keeps the one that ranks first."""
        sampled = self._draw(slots, self.n, self.temperature)
        answers = self._answers(sampled)
        futures = self._futures(slots, answers)
        allowed = torch.tensor([[may_be_chosen(answer) for answer in each] for each in answers])
        before = self.judge.cache.tokens_read
        choice = self.judge.choose(slots, sampled, self.chat.end, futures, allowed)
        imagined = sum(len(future.ids) for each in futures for future in each)
        self.usage.tokens_read += self.judge.cache.tokens_read - before + sampled.count() + imagined
        self._keep(slots, sampled, choice)
        return [each[c] for each, c in zip(answers, choice, strict=True)]

    def _futures(self, slots: Sequence[int], answers: Sequence[Sequence[Response]]) -> list[list[Future]]:
        """What the judge reads behind each answer [B][n]: nothing."""
        return [[Future()] * self.n for _ in slots]


class Judge(ABC):
    """A model over slots of cached conversations, which says of answers how good they are."""

    def __init__(self, model: PreTrainedModel, conversations: Conversations, *, slots: int, prior: float) -> None:
        self.conversations, self.prior = conversations, prior
        self.cache = SlotModel(model, slots=slots, capacity=context_of(model.config))

    def choose(
        self,
        slots: Sequence[int],
        sampled: Sampled,
        end: int,
        futures: Sequence[Sequence[Future]],
        allowed: torch.Tensor,
    ) -> list[int]:
        """The answer of each slot that ranks first, which becomes part of its conversation; of equals the first.

        Only those `allowed` (B, n) are ranked, or all where a slot has none.
        """
        behind = read_pending(self.cache, self.conversations, slots)
        rows = torch.tensor(slots)
        lanes = [
            [[*ids, end, *future.ids] for ids, future in zip(answers, each, strict=True)]
            for answers, each in zip(sampled.tokens, futures, strict=True)
        ]
        tokens, counts = _padded(lanes)
        said = self.scores(behind, self._read(rows, tokens), tokens, counts, sampled)
        discounts = torch.tensor([[future.discount for future in each] for each in futures])
        ranks = discounted(said, discounts) + self.prior * sampled.log_probabilities
        choice = ranks.masked_fill(~allowed & allowed.any(-1, keepdim=True), -torch.inf).argmax(-1)
        answered = torch.tensor([len(ids[c]) + 1 for ids, c in zip(sampled.tokens, choice.tolist(), strict=True)])
        if self._together(rows, tokens) == tokens.shape[1]:
            columns = torch.arange(int(answered.max()))
            scratch = (self.cache.lengths[rows] + choice * tokens.shape[-1])[:, None] + columns
            self.cache.keep(rows, scratch, answered)
        else:  # Later lanes were read over it.
            for slot, ids, c in zip(slots, sampled.tokens, choice.tolist(), strict=True):
                self.conversations.by_slot[slot].pending += [*ids[c], end]
        return choice.tolist()

    @abstractmethod
    def scores(
        self, behind: torch.Tensor, hidden: torch.Tensor, tokens: torch.Tensor, counts: torch.Tensor, sampled: Sampled
    ) -> torch.Tensor:
        """How good each of n answers is (B, n), from the hidden states behind the conversations (B, H) and in them.

        `hidden` (B, n, T, H) are those of `tokens` (B, n, T), of which the first `counts` (B, n) count: an answer, its
        end token, and what is imagined behind it.
        """

    def _together(self, rows: torch.Tensor, tokens: torch.Tensor) -> int:
        """How many lanes of tokens (B, n, T) have room behind the longest of their conversations, of n at most.

        Raises:
            ContextOverflow: not even one.
        """
        n, width = tokens.shape[1:]
        longest = int(self.cache.lengths[rows].max())
        self.cache.require(longest + width)
        return min(n, (self.cache.capacity - longest) // width)

    def _read(self, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, n, T, H) of tokens (B, n, T), each lane behind its slot's conversation."""
        return torch.cat([self._read_lanes(rows, part) for part in tokens.split(self._together(rows, tokens), 1)], 1)

    def _read_lanes(self, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        n, width = tokens.shape[1:]
        base = self.cache.lengths[rows]
        # Lane c's token t is the new token c * T + t; it sees the conversation and its own lane up to itself.
        own = torch.block_diag(*[torch.ones(width, width).tril()] * n).bool()
        step = torch.arange(width).repeat(n)
        order = base.argsort(stable=True)
        segments = [
            Segment(rows[part], tokens[part].flatten(1), base[part, None] + step, own)
            for part in order.split(self.cache.trunk.rows_together)
        ]
        return torch.cat(self.cache.read(segments)).unflatten(1, (n, width))[order.argsort()]


class PrmJudge(Judge):
    """The PRM's logit of every answer, or of what it is imagined to lead to."""

    def __init__(self, model: PreTrainedModel, conversations: Conversations, *, slots: int, prior: float) -> None:
        super().__init__(model, conversations, slots=slots, prior=prior)
        self.head: torch.nn.Module = model.score

    def scores(
        self, behind: torch.Tensor, hidden: torch.Tensor, tokens: torch.Tensor, counts: torch.Tensor, sampled: Sampled
    ) -> torch.Tensor:
        """Q (B, n), read at the last tokens: logits."""
        return self._at_ends(hidden, counts)

    def logits(self, slots: Sequence[int], answers: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        """Q (B, n) of n answers in each slot, token ids with the end token; none becomes part of its conversation."""
        read_pending(self.cache, self.conversations, slots)
        tokens, counts = _padded(answers)
        return self._at_ends(self._read(torch.tensor(slots), tokens), counts)

    def _at_ends(self, hidden: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        b, n = counts.shape
        last = hidden[torch.arange(b)[:, None], torch.arange(n), counts - 1]
        return self.head(last).squeeze(-1).float().cpu()


class LogRatioJudge(Judge):
    """log pi - log pi_ref of every answer, the model being pi_ref."""

    def __init__(self, model: PreTrainedModel, conversations: Conversations, *, slots: int, prior: float) -> None:
        super().__init__(model, conversations, slots=slots, prior=prior)
        self.head = language_head(model)

    def scores(
        self, behind: torch.Tensor, hidden: torch.Tensor, tokens: torch.Tensor, counts: torch.Tensor, sampled: Sampled
    ) -> torch.Tensor:
        """Log-ratios (B, n), in nats; of an answer that was cut, without its end token."""
        b, n = counts.shape
        before = torch.cat([behind[:, None, None].expand(b, n, 1, -1), hidden[:, :, :-1]], dim=2)
        log_p = self.head(before).float().log_softmax(-1).gather(-1, tokens.to(before.device)[..., None]).squeeze(-1)
        said = counts - (~torch.tensor(sampled.finished)).long()
        counted = torch.arange(tokens.shape[-1]) < said[..., None]
        return sampled.log_probabilities - (log_p.cpu() * counted).sum(-1)


def _padded(answers: Sequence[Sequence[Sequence[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B][n] as (B, n, T), padded to the longest, and how many count of each (B, n)."""
    counts = torch.tensor([[len(ids) for ids in each] for each in answers])
    tokens = pad_sequence([torch.tensor(ids) for each in answers for ids in each], batch_first=True)
    return tokens.view(*counts.shape, -1), counts


def discounted(logits: torch.Tensor, discounts: torch.Tensor) -> torch.Tensor:
    """The logits of discount * sigma(logit); those of discount 1 to the last bit."""
    return logits + discounts.log() - softplus(logits + (1 - discounts).log())
