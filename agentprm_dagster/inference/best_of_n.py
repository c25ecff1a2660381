"""Best-of-N, the paper's BoN(pi, Q): at every turn the policy samples N answers and the PRM chooses one.

The more answers there are, the likelier the PRM overrates one of them, and choosing by it alone takes that one. With a
weight for the policy's own opinion, the answer of highest prior * log pi + logit Q is taken: the mode, among those
drawn, of pi exp(logit Q / prior), the optimum of Eq. 3 with logit Q for Q and `prior` for beta.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentprm_dagster.core.types import Observation, Turn
from agentprm_dagster.inference.conversations import Conversations
from agentprm_dagster.inference.policy import Policy, read_pending
from agentprm_dagster.inference.sampling import Sampled
from agentprm_dagster.inference.slots import Segment, SlotModel
from agentprm_dagster.models.attention import use_grouped_attention


class BestOfN(Policy):
    """argmax over N sampled answers of prior * log pi + logit Q(state, answer); the PRM reads in a cache of its own."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prm: PreTrainedModel,
        *,
        n: int,
        prior: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(model, tokenizer, **settings)
        use_grouped_attention(prm)
        self.n = n
        conversations = Conversations(self.chat, self.conversations.format)
        self.judge = Judge(prm.eval(), conversations, slots=self.slots, prior=prior)

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a conversation in a slot."""
        super().begin(slot, first_observation, turns, observation)
        self.judge.conversations.begin(slot, first_observation, turns, observation)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what its answer led to."""
        super().observe(slot, turn, observation)
        self.judge.conversations.observe(slot, turn, observation)

    @torch.inference_mode()
    def act(self, slots: Sequence[int]) -> list[str]:
        """Samples N answers for each slot and keeps the one that ranks first."""
        sampled = self._draw(slots, self.n, self.temperature)
        before = self.judge.cache.tokens_read
        choice = self.judge.choose(slots, sampled, self.chat.end)
        self.usage.tokens_read += self.judge.cache.tokens_read - before + sampled.count()
        self._keep(slots, sampled, choice)
        return [self.chat.decode(answers[c]) for answers, c in zip(sampled.tokens, choice, strict=True)]


class Judge:
    """A PRM over slots of cached conversations."""

    def __init__(self, prm: PreTrainedModel, conversations: Conversations, *, slots: int, prior: float) -> None:
        self.conversations, self.prior = conversations, prior
        self.cache = SlotModel(prm, slots=slots, capacity=prm.config.max_position_embeddings)
        self.score: torch.nn.Module = prm.score

    def choose(self, slots: Sequence[int], sampled: Sampled, end: int) -> list[int]:
        """The answer of each slot that ranks first, which becomes part of its conversation; of equals the first."""
        read_pending(self.cache, self.conversations, slots)
        rows = torch.tensor(slots)
        lanes = [[torch.tensor([*ids, end]) for ids in answers] for answers in sampled.tokens]
        counts = torch.tensor([[len(ids) for ids in answers] for answers in lanes])
        tokens = pad_sequence([ids for answers in lanes for ids in answers], batch_first=True)
        tokens = tokens.view(*counts.shape, -1)
        ranks = self._values(rows, tokens, counts).cpu() + self.prior * sampled.log_probabilities
        choice = ranks.argmax(-1)
        width, row = tokens.shape[-1], torch.arange(len(rows))
        scratch = (self.cache.lengths[rows] + choice * width)[:, None] + torch.arange(width)
        self.cache.keep(rows, scratch, counts[row, choice])
        return choice.tolist()

    def _values(self, rows: torch.Tensor, tokens: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Q of answers (B, n, T), the first `counts` (B, n) tokens of each, read at the last of them: logits (B, n)."""
        n, width = tokens.shape[1:]
        base = self.cache.lengths[rows]
        self.cache.require(int(base.max()) + n * width)
        # Lane c's token t is the new token c * T + t; it sees the conversation and its own lane up to itself.
        own = torch.block_diag(*[torch.ones(width, width).tril()] * n).bool()
        step = torch.arange(width).repeat(n)
        order = base.argsort(stable=True)
        segments = [
            Segment(rows[part], tokens[part].flatten(1), base[part, None] + step, own)
            for part in order.split(self.cache.trunk.rows_together)
        ]
        hidden = torch.cat(self.cache.read(segments)).unflatten(1, (n, width))
        last = hidden[torch.arange(len(rows))[:, None], torch.arange(n), counts[order] - 1]
        return self.score(last).squeeze(-1).float()[order.argsort()]
