"""Trajectory-level DPO (`algorithm.trajectory_dpo`) on pairs of stored episodes.

The reference is pi_(i-1), whose log-probabilities are computed once. An answer that was cut at the token limit counts
with the end token that it is read with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import Terms
from agentprm_dagster.algorithm.trajectory_dpo import trajectory_items, trajectory_terms
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.improvement.episode_pairs import EpisodePair
from agentprm_dagster.improvement.stored import Start
from agentprm_dagster.improvement.stored_training import pieces
from agentprm_dagster.launch.device import precision, training_threads
from agentprm_dagster.launch.pieces import Numbers, Piece, Work
from agentprm_dagster.training.sft import Row, row_log_probabilities, row_of, tokens_in

READ_TOGETHER = 8
"""Pairs that the reference reads at once, where nothing says how many tokens."""


@dataclass(frozen=True, slots=True)
class Example:
    """A pair as it is read."""

    better: list[Row]
    """One row, or one a turn where every turn restates the history."""
    worse: list[Row]
    reference: tuple[float, float] = (0.0, 0.0)
    """log p of the answers of each by the reference, in nats."""

    @property
    def rows(self) -> list[Row]:
        """Those of both."""
        return [*self.better, *self.worse]

    @property
    def tokens(self) -> int:
        """Tokens of one pass."""
        return tokens_in(self.rows)

    @property
    def padded(self) -> int:
        """The same with rows that are all as long as the longest."""
        return len(self.rows) * max(len(row.ids) for row in self.rows)


def examples(start: Start, pairs: Sequence[EpisodePair], dialogue: Format, most: int | None) -> list[Example]:
    """The pairs with what the reference says of them, which reads at most so many padded tokens at once."""
    read = [
        Example(
            trajectory_rows(start.chat, pair.better, pair.better_from, dialogue),
            trajectory_rows(start.chat, pair.worse, pair.worse_from, dialogue),
        )
        for pair in pairs
    ]
    known: dict[int, tuple[float, float]] = {}
    # In the numbers that training computes with.
    with torch.no_grad(), training_threads(start.reference), precision(start.reference, start.dtype):
        for places in pieces(read, most, READ_TOGETHER):
            sums = log_probabilities(start.reference, [read[i] for i in places])
            known |= dict(zip(places, map(tuple, sums.tolist()), strict=True))
    return [replace(each, reference=known[i]) for i, each in enumerate(read)]


def trajectory_rows(chat: Chat, episode: Episode, first: int, dialogue: Format) -> list[Row]:
    """An episode as it is read, its answers from turn `first` on being learnt."""
    turns = range(first, len(episode.turns))
    return [row_of(read.ids, read.answers) for read in chat.conversations(episode, dialogue, turns)]


def log_probabilities(model: PreTrainedModel, some: Sequence[Example]) -> torch.Tensor:
    """log p (P, 2), in nats, of all answers of the better and of the worse episode of every pair."""
    rows = [row for example in some for row in example.rows]
    owners = [
        2 * i + side
        for i, example in enumerate(some)
        for side, of_one in enumerate((example.better, example.worse))
        for _ in of_one
    ]
    owner = torch.tensor(owners).to(model.device)
    log_p, row = row_log_probabilities(model, rows)
    return log_p.new_zeros(2 * len(some)).index_add(0, owner[row], log_p).reshape(-1, 2)


def trajectory_work(model: PreTrainedModel, shard: int, beta: float, most: int | None = None) -> Work:
    """From pairs to pieces of at most so many padded tokens, or of one pair."""

    def piece(some: Sequence[Example]) -> Piece:
        def read() -> tuple[Terms, Numbers]:
            model.train(model.is_activation_checkpointing)
            sums = log_probabilities(model, some)
            ratios = sums - torch.tensor([example.reference for example in some]).to(sums.device)
            return trajectory_terms(ratios[:, 0], ratios[:, 1], beta)

        return Piece(read, trajectory_items(len(some)))

    def work(part: Sequence[Example]) -> list[Piece]:
        return [piece([part[i] for i in places]) for places in pieces(part, most, len(part))]

    return work
