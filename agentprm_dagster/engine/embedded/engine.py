"""The embedded engine: a model over slots of cached conversations, of which only new tokens are ever read."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from agentprm_dagster.engine.architectures import context_of
from agentprm_dagster.engine.base import Limits, Sampled, WrongRoleError
from agentprm_dagster.engine.drawing import shares_of
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.sampling import Sampler
from agentprm_dagster.engine.embedded.slots import Segment, SlotModel
from agentprm_dagster.engine.heads import language_head


@dataclass(frozen=True, slots=True)
class _Sequences:
    """What was last drawn or read behind a conversation."""

    tokens: list[list[int]]
    """[n]."""
    read: list[int]
    """[n] how many of them lie in the cache: the last one of an answer that was cut has not been read."""
    scratch: torch.Tensor
    """(n, T) where there."""


class EmbeddedEngine:
    """See `engine.base.Engine`. A conversation's number is its slot in the cache."""

    def __init__(self, model: PreTrainedModel, *, conversations: int) -> None:
        """`model` is a causal language model, or has a scalar head called `score`."""
        use_grouped_attention(model)
        self.model = model.eval()
        self.vocabulary: int = model.config.vocab_size
        self.is_prm = hasattr(model, "score")
        self.head = model.score if self.is_prm else language_head(model)
        self.cache = SlotModel(model, slots=conversations, capacity=context_of(model.config))
        self._pending: dict[int, list[int]] = defaultdict(list)
        self._behind: dict[int, torch.Tensor] = {}
        """(H,) hidden states behind what was read of conversations."""
        self._sequences: dict[int, _Sequences] = {}
        self._sampler = lru_cache(maxsize=8)(self._make_sampler)

    @property
    def tokens_read(self) -> int:
        """See `engine.base.Engine`."""
        return self.cache.tokens_read

    def begin(self, conversation: int, ids: Sequence[int]) -> None:
        """See `engine.base.Engine`."""
        self.cache.clear(conversation)
        self._pending[conversation] = list(ids)

    def extend(self, conversation: int, ids: Sequence[int]) -> None:
        """See `engine.base.Engine`."""
        self._pending[conversation] += ids

    @torch.inference_mode()
    def prefill(self, conversations: Sequence[int]) -> None:
        """See `engine.base.Engine`."""
        if news := [each for each in conversations if self._pending[each]]:
            hidden = self.cache.feed(news, [self._pending.pop(each) for each in news])
            self._behind.update(zip(news, hidden, strict=True))

    @torch.inference_mode()
    def sample(
        self, conversations: Sequence[int], n: int, limits: Limits, *, temperature: float, seeds: Sequence[int]
    ) -> Sampled:
        """See `engine.base.Engine`."""
        self._require(prm=False)
        hidden = self._read_pending(conversations)
        drawn = self._sampler(limits.end, limits.banned).draw(
            conversations,
            hidden[:, None].expand(-1, n, -1),
            self.cache.lengths[list(conversations)][:, None].expand(-1, n),
            temperature=temperature,
            shares=shares_of(seeds, n, limits.max_new_tokens),
        )
        for i, each in enumerate(conversations):
            read = [len(ids) - (not ended) for ids, ended in zip(drawn.tokens[i], drawn.finished[i], strict=True)]
            self._sequences[each] = _Sequences(drawn.tokens[i], read, drawn.scratch[i])
        return drawn

    @torch.inference_mode()
    def score(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        """See `engine.base.Engine`."""
        self._require(prm=True)
        self.prefill(conversations)
        hidden, _, counts = self._read_behind(conversations, continuations)
        b, n = counts.shape
        last = hidden[torch.arange(b)[:, None], torch.arange(n), counts - 1]
        return self.head(last).squeeze(-1).float().cpu()

    @torch.inference_mode()
    def log_probs(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        """See `engine.base.Engine`."""
        self._require(prm=False)
        behind = self._read_pending(conversations)
        hidden, tokens, counts = self._read_behind(conversations, continuations)
        b, n = counts.shape
        before = torch.cat([behind[:, None, None].expand(b, n, 1, -1), hidden[:, :, :-1]], dim=2)
        log_p = self.head(before).float().log_softmax(-1).gather(-1, tokens.to(before.device)[..., None]).squeeze(-1)
        counted = torch.arange(tokens.shape[-1]) < counts[..., None]
        return (log_p.cpu() * counted).sum(-1)

    @torch.inference_mode()
    def keep(self, conversations: Sequence[int], choice: Sequence[int], tokens: Sequence[int]) -> None:
        """See `engine.base.Engine`."""
        sequences = [self._sequences.pop(each) for each in conversations]
        read = [min(each.read[c], count) for each, c, count in zip(sequences, choice, tokens, strict=True)]
        scratch = [each.scratch[c, : max(read)] for each, c in zip(sequences, choice, strict=True)]
        self.cache.keep(torch.tensor(conversations), pad_sequence(scratch, batch_first=True), torch.tensor(read))
        for conversation, each, c, first, last in zip(conversations, sequences, choice, read, tokens, strict=True):
            self._pending[conversation] = each.tokens[c][first:last]
            self._behind.pop(conversation, None)

    def _require(self, *, prm: bool) -> None:
        if self.is_prm != prm:
            raise WrongRoleError(type(self.model).__name__, is_prm=self.is_prm)

    def _make_sampler(self, end: int, banned: tuple[int, ...]) -> Sampler:
        return Sampler(self.cache, self.head, end=end, banned=banned)

    def _read_pending(self, conversations: Sequence[int]) -> torch.Tensor:
        """Feeds every conversation what it has not read; hidden states behind the last tokens (B, H)."""
        for each in conversations:
            if not self._pending[each] and each not in self._behind:
                self._pending[each] = [self.cache.take_last(each)]  # it was kept, and nothing came after it
        self.prefill(conversations)
        return torch.stack([self._behind[each] for each in conversations])

    def _read_behind(
        self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Reads n sequences behind each conversation: hidden states (B, n, T, H) of tokens (B, n, T); their counts."""
        rows = torch.tensor(conversations)
        tokens, counts = _padded(continuations)
        together = self._together(rows, tokens)
        hidden = torch.cat([self._read_sequences(rows, part) for part in tokens.split(together, 1)], 1)
        self.cache.tokens_read += int(counts.sum())
        n, width = tokens.shape[1:]
        sequences = torch.arange(n)[:, None] * width + torch.arange(width)
        for i, each in enumerate(conversations):
            scratch, read = self.cache.lengths[each] + sequences, counts[i].tolist()
            if together < n:  # later sequences were read over it
                scratch, read = scratch[:, :0], [0] * n
            self._sequences[each] = _Sequences([list(ids) for ids in continuations[i]], read, scratch)
        return hidden, tokens, counts

    def _together(self, rows: torch.Tensor, tokens: torch.Tensor) -> int:
        """How many sequences of tokens (B, n, T) have room behind the longest of their conversations, of n at most.

        Raises:
            ContextOverflow: not even one.
        """
        n, width = tokens.shape[1:]
        longest = int(self.cache.lengths[rows].max())
        self.cache.require(longest + width)
        return min(n, (self.cache.capacity - longest) // width)

    def _read_sequences(self, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, n, T, H) of tokens (B, n, T), each sequence behind its slot's conversation."""
        n, width = tokens.shape[1:]
        base = self.cache.lengths[rows]
        # Sequence c's token t is the new token c * T + t; it sees the conversation and its own sequence up to itself.
        own = torch.block_diag(*[torch.ones(width, width).tril()] * n).bool()
        step = torch.arange(width).repeat(n)
        order = base.argsort(stable=True)
        segments = [
            Segment(rows[part], tokens[part].flatten(1), base[part, None] + step, own)
            for part in order.split(self.cache.backbone.rows_together)
        ]
        return torch.cat(self.cache.read(segments)).unflatten(1, (n, width))[order.argsort()]


def _padded(sequences: Sequence[Sequence[Sequence[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B][n] as (B, n, T), padded to the longest, and how many count of each (B, n)."""
    counts = torch.tensor([[len(ids) for ids in each] for each in sequences])
    tokens = pad_sequence([torch.tensor(ids) for each in sequences for ids in each], batch_first=True)
    return tokens.view(*counts.shape, -1), counts
