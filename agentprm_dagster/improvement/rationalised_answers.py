"""Answers that worked, learnt beside what policy improvement draws (`improvement.rationalisation`)."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import Term, Terms
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.rationalisation import Rationalised
from agentprm_dagster.launch.shards import Numbers, Work
from agentprm_dagster.training.candidates import Candidate, CandidateTrees


def with_rationalised(work: Work, model: PreTrainedModel, chat: Chat, answers: Rationalised, weight: float) -> Work:
    """The same work, its loss with `weight` times the negative log-likelihood of the answers of its states.

    The mean over the answers, in nats an answer; where none of the states has one, the loss as it is.
    """

    def both(part: tuple[int, list[EpisodeTokens]]) -> tuple[Terms, Numbers]:
        terms, numbers = work(part)
        _, prefixes = part
        known = rationalised_candidates(chat, prefixes, answers)
        if not known:
            return terms, {**numbers, "rationalised": 0.0}
        trees = CandidateTrees(prefixes, known)
        missing = Term(-weight * trees.log_probabilities(model).sum(), len(known))
        read = numbers["tokens"] + trees.tokens_read
        return {**terms, "rationalised": missing}, {**numbers, "rationalised": len(known), "tokens": read}

    return both


def rationalised_candidates(chat: Chat, prefixes: Sequence[EpisodeTokens], answers: Rationalised) -> list[Candidate]:
    """The answers of the prefixes' states, as if each had been drawn once."""
    return [
        Candidate((row, state), tuple(chat.answer(answer)), 1)
        for row, prefix in enumerate(prefixes)
        for state, turn in enumerate(prefix.turns)
        if (answer := answers.get((prefix.episode.episode_id, turn)))
    ]
