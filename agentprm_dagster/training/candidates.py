"""Answers that the current policy gives in every state of some episodes, without reading an episode twice."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.drawn_answers import DrawnAnswers
from agentprm_dagster.algorithm.token_comparison import TokenComparison, compare_tokens
from agentprm_dagster.engine.base import answer_seed
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.drawing import shares_of
from agentprm_dagster.engine.embedded.sampling import Sampler
from agentprm_dagster.engine.embedded.slots import SlotModel
from agentprm_dagster.engine.embedded.token_tree import TokenTree, alike, read_trees
from agentprm_dagster.engine.heads import chosen_log_probabilities, in_parts, language_head
from agentprm_dagster.episodes.tokens import EpisodeTokens

READ_TOGETHER = 32
"""Prefixes that answers are drawn behind at once, where no step of a training says how many."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the different answers drawn in a state."""

    state: tuple[int, int]
    """(prefix, state): their places in what was read."""
    ids: tuple[int, ...]
    """Its tokens, end token included."""
    draws: int
    """How often it was drawn."""
    cut: bool = False
    """Whether it was cut at the token limit: its end token is read, but was not drawn."""


class CandidateSampler:
    """Draws n answers in every state of a batch of prefixes with a model whose weights may change in between."""

    def __init__(
        self, model: PreTrainedModel, chat: Chat, *, longest: int, rows: int, states: int, n: int, new: int
    ) -> None:
        """For at most `rows` prefixes of `states` states and `longest` tokens each; n answers of up to `new` tokens."""
        self.chat, self.n, self.new = chat, n, new
        self.cache = SlotModel(model, slots=rows, capacity=longest + states * n * new)
        banned = chat.never_drawn(model.config.vocab_size)
        self.sampler = Sampler(self.cache, language_head(model), end=chat.end, banned=banned)

    @classmethod
    def of_any(cls, prefixes: Sequence[EpisodeTokens], model: PreTrainedModel, chat: Chat, *, n: int, new: int) -> Self:
        """For any READ_TOGETHER of the prefixes."""
        longest, states = max(each.states[-1] for each in prefixes), max(len(each.states) for each in prefixes)
        rows = min(READ_TOGETHER, len(prefixes))
        return cls(model, chat, longest=longest, rows=rows, states=states, n=n, new=new)

    @torch.no_grad()
    def draw(self, prefixes: Sequence[EpisodeTokens], *, temperature: float, seed: int) -> list[Candidate]:
        """The different answers drawn in each state: for a seed the same, whatever else is drawn with them."""
        rows = list(range(len(prefixes)))
        hidden = self._read(rows, prefixes)
        states = pad_sequence([torch.tensor(prefix.states) for prefix in prefixes], batch_first=True)
        idle = (states == 0).repeat_interleave(self.n, dim=1)
        lengths = states.clamp(min=1).repeat_interleave(self.n, dim=1)
        sampled = self.sampler.draw(
            rows,
            hidden[torch.arange(len(rows))[:, None], lengths - 1],
            lengths,
            temperature=temperature,
            shares=self._shares(prefixes, lengths.shape[1] // self.n, seed),
            idle=idle,
        )
        counts = Counter(
            ((row, sequence // self.n), (*ids, self.chat.end), not ended)
            for row, sequences in enumerate(zip(sampled.tokens, sampled.finished, strict=True))
            for sequence, (ids, ended) in enumerate(zip(*sequences, strict=True))
            if not idle[row, sequence]
        )
        return [Candidate(state, ids, draws, cut) for (state, ids, cut), draws in counts.items()]

    def _shares(self, prefixes: Sequence[EpisodeTokens], states: int, seed: int) -> torch.Tensor:
        """Uniform random numbers (B, states * n, new), each state's by a seed of its own."""
        shares = torch.zeros(len(prefixes), states, self.n, self.new)
        for row, prefix in zip(shares, prefixes, strict=True):
            seeds = [answer_seed(seed, prefix.episode.episode_id, turn, self.n) for turn in prefix.turns]
            row[: len(seeds)] = shares_of(seeds, self.n, self.new)
        return shares.flatten(1, 2)

    def _read(self, rows: list[int], prefixes: Sequence[EpisodeTokens]) -> torch.Tensor:
        """Hidden states (B, T, H) of all prefix tokens, which then lie in the cache."""
        for row in rows:
            self.cache.clear(row)
        prompts = [torch.tensor(prefix.prompt) for prefix in prefixes]
        lengths = list(map(len, prompts))
        parts = list(alike(lengths))
        segments = [self.cache.segment(part, [prompts[i] for i in part]) for part in parts]
        hidden = [pad(each, (0, 0, 0, max(lengths) - each.shape[1])) for each in self.cache.read(segments)]
        self.cache.lengths[rows] = torch.tensor(lengths)
        return torch.cat(hidden)[torch.tensor([i for part in parts for i in part]).argsort()]


class CandidateTrees:
    """Prefixes with their candidates as token trees: one pass scores them all.

    Log-probabilities are the model's own, of all its vocabulary, tokens that are never drawn included; of a candidate
    that was cut, without an end token.
    """

    def __init__(self, prefixes: Sequence[EpisodeTokens], candidates: Sequence[Candidate]) -> None:
        self.trees = [TokenTree() for _ in prefixes]
        roots = [tree.add(prefix.prompt) for tree, prefix in zip(self.trees, prefixes, strict=True)]
        tokens: list[int] = []
        lengths: list[int] = []
        rows, before, ends = [], [], []
        for candidate in candidates:
            prefix, turn = candidate.state
            tree, length = self.trees[prefix], prefixes[prefix].states[turn]
            segment = tree.add(candidate.ids, parent=roots[prefix], length=length)
            first = tree.index(segment, 0)
            drawn = candidate.ids[:-1] if candidate.cut else candidate.ids
            # A token is predicted by the one before it: the state's last for the first, then its own.
            before += [length - 1, *range(first, first + len(drawn) - 1)]
            rows += [prefix] * len(drawn)
            tokens += drawn
            lengths.append(len(drawn))
            ends.append(tree.index(segment, len(candidate.ids) - 1))
        self.rows, self.before = map(torch.tensor, (rows, before))
        numbers = {state: i for i, state in enumerate(dict.fromkeys(candidate.state for candidate in candidates))}
        self.answers = DrawnAnswers(
            torch.tensor(tokens),
            lengths,
            states=torch.tensor([numbers[candidate.state] for candidate in candidates]),
            draws=torch.tensor([float(candidate.draws) for candidate in candidates]),
        )
        self.last = torch.tensor(lengths).cumsum(0) - 1
        self.ends = torch.tensor(ends)

    @property
    def tokens_read(self) -> int:
        """Tokens of one pass, padding left out."""
        return sum(map(len, self.trees))

    def compared(
        self, policy: PreTrainedModel, reference: PreTrainedModel, *, temperature: float, banned: Sequence[int] = ()
    ) -> TokenComparison:
        """What two models say of every candidate's tokens, drawn from the first at `temperature` without `banned`."""
        with torch.no_grad():
            by_reference = self._hidden(reference)
        heads = language_head(policy), language_head(reference)

        def compare(hidden: torch.Tensor, by_reference: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                logits = heads[1](by_reference)
            return compare_tokens(heads[0](hidden), logits, tokens, temperature=temperature, banned=banned)

        tokens = self.answers.tokens.to(policy.device)
        columns = in_parts(compare, policy.config.vocab_size, self._hidden(policy), by_reference, tokens)
        return TokenComparison(*columns.unbind(-1))

    def log_probabilities(self, model: PreTrainedModel) -> torch.Tensor:
        """log pi(answer | state) of every candidate (C,), in nats."""
        return self.answers.sums(self.token_log_probabilities(model))

    def token_log_probabilities(self, model: PreTrainedModel) -> torch.Tensor:
        """The same of every token of theirs (N,)."""
        return chosen_log_probabilities(model, self._hidden(model), self.answers.tokens)

    def _hidden(self, model: PreTrainedModel) -> torch.Tensor:
        """Hidden states (N, H) behind which every candidate's tokens are predicted."""
        return read_trees(model, self.trees)[self.rows, self.before]

    def values(self, prm: PreTrainedModel) -> torch.Tensor:
        """The PRM's logit of every candidate (C,), read at its end token."""
        hidden = read_trees(prm, self.trees)
        rows = self.rows[self.last]
        logits: torch.Tensor = prm.score(hidden[rows, self.ends]).squeeze(-1).float()
        return logits
