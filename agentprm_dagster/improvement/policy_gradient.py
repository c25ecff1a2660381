"""The clipped policy gradient (`algorithm.policy_gradient`) on the answers of stored rollouts.

All answers along a whole episode, its own and those of its branches, are read as one token tree. pi_(i-1), which has
drawn them and is the reference too, says its log-probabilities once. An answer that was cut at the token limit counts
with the end token that it is read with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.policy_gradient import policy_gradient_items, policy_gradient_terms
from agentprm_dagster.algorithm.terms import Terms
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.grouped_answers import GivenAnswer
from agentprm_dagster.improvement.stored import Start
from agentprm_dagster.improvement.stored_training import pieces
from agentprm_dagster.launch.device import precision, training_threads
from agentprm_dagster.launch.pieces import Numbers, Piece, Work
from agentprm_dagster.training.candidates import READ_TOGETHER, Candidate, CandidateTrees


@dataclass(frozen=True, slots=True)
class Example:
    """A prefix with the answers that were given in its states."""

    prefix: EpisodeTokens
    candidates: list[Candidate]
    """Each by its state in the prefix, (0, place)."""
    advantages: list[float]
    before: list[list[float]]
    """log p of each answer's tokens by pi_(i-1), in nats."""

    @property
    def tokens(self) -> int:
        """Tokens of one pass."""
        return len(self.prefix.prompt) + sum(len(candidate.ids) for candidate in self.candidates)

    @property
    def padded(self) -> int:
        """The same: a tree has no padding by itself."""
        return self.tokens


def examples(
    start: Start,
    episodes: Sequence[Episode],
    along: Mapping[str, Mapping[int, Sequence[GivenAnswer]]],
    dialogue: Format,
    most: int | None,
) -> list[Example]:
    """What was answered along each episode (`answers_by_state`), with what pi_(i-1) says of it.

    It reads at most so many padded tokens at once.
    """
    read = [
        _example(start.chat, prefix, along[episode.episode_id])
        for episode in episodes
        if episode.episode_id in along
        for prefix in start.chat.conversations(episode, dialogue, sorted(along[episode.episode_id]))
    ]
    known: dict[int, list[list[float]]] = {}
    # In the numbers that training computes with.
    with torch.no_grad(), training_threads(start.reference), precision(start.reference, start.dtype):
        for places in pieces(read, most, READ_TOGETHER):
            some = [read[i] for i in places]
            trees = trees_of(some)
            each = iter(trees.token_log_probabilities(start.reference).split(trees.answers.lengths))
            known |= {i: [next(each).tolist() for _ in read[i].candidates] for i in places}
    return [replace(each, before=known[i]) for i, each in enumerate(read)]


def _example(chat: Chat, prefix: EpisodeTokens, given: Mapping[int, Sequence[GivenAnswer]]) -> Example:
    answers = [(place, each) for place, turn in enumerate(prefix.turns) for each in given[turn]]
    candidates = []
    for place, each in answers:
        turn = each.episode.turns[each.turn]
        candidates.append(Candidate((0, place), tuple(chat.answer(turn.response, turn.tokens)), 1))
    return Example(prefix, candidates, [each.advantage for _, each in answers], [])


def trees_of(some: Sequence[Example]) -> CandidateTrees:
    """The token trees of some examples, their answers one example after another."""
    candidates = [
        replace(candidate, state=(row, candidate.state[1]))
        for row, example in enumerate(some)
        for candidate in example.candidates
    ]
    return CandidateTrees([example.prefix for example in some], candidates)


def policy_gradient_work(
    model: PreTrainedModel, shard: int, clip: float, kl_weight: float, most: int | None = None
) -> Work:
    """From examples to pieces of at most so many padded tokens, or of one example."""

    def piece(some: Sequence[Example]) -> Piece:
        def read() -> tuple[Terms, Numbers]:
            model.train(model.is_activation_checkpointing)
            trees = trees_of(some)
            log_p = trees.token_log_probabilities(model)
            before = [value for example in some for answer in example.before for value in answer]
            advantages = [value for example in some for value in example.advantages]
            known = (torch.tensor(each, device=log_p.device) for each in (before, advantages))
            return policy_gradient_terms(trees.answers, log_p, *known, clip=clip, kl_weight=kl_weight)

        return Piece(read, policy_gradient_items(sum(len(example.candidates) for example in some)))

    def work(part: Sequence[Example]) -> list[Piece]:
        return [piece([part[i] for i in places]) for places in pieces(part, most, len(part))]

    return work
