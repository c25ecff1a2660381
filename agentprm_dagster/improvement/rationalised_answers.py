"""Answers that worked, learnt beside what policy improvement draws (`improvement.rationalisation`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import Term, Terms
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.rationalisation import Rationalised
from agentprm_dagster.launch.pieces import Numbers, Piece
from agentprm_dagster.training.candidates import Candidate, CandidateTrees


@dataclass(frozen=True)
class RationalisedAnswers:
    """The answers that are known, and how much they count."""

    answers: Rationalised
    weight: float
    """Of the negative log-likelihood, in nats an answer, a mean over the answers."""

    def added(self, piece: Piece, model: PreTrainedModel, chat: Chat, prefixes: Sequence[EpisodeTokens]) -> Piece:
        """The piece, which learns the answers of these prefixes' states too; as it is where they have none."""
        known = rationalised_candidates(chat, prefixes, self.answers)

        def read() -> tuple[Terms, Numbers]:
            terms, numbers = piece.read()
            if not known:
                return terms, {**numbers, "rationalised": 0.0}
            trees = CandidateTrees(prefixes, known)
            missing = Term(-self.weight * trees.log_probabilities(model).sum(), len(known))
            read = {name: numbers[name] + trees.tokens_read for name in ("tokens", "trained_tokens")}
            return {**terms, "rationalised": missing}, {**numbers, "rationalised": len(known), **read}

        items = {"rationalised": float(len(known))} if known else {}
        return Piece(read, None if piece.items is None else {**piece.items, **items})


def rationalised_candidates(chat: Chat, prefixes: Sequence[EpisodeTokens], answers: Rationalised) -> list[Candidate]:
    """The answers of the prefixes' states, as if each had been drawn once."""
    return [
        Candidate((row, state), tuple(chat.answer(answer)), 1)
        for row, prefix in enumerate(prefixes)
        for state, turn in enumerate(prefix.turns)
        if (answer := answers.get((prefix.episode.episode_id, turn)))
    ]
