"""A toy kind of engine for tests: whatever it is told, it answers the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from agentprm_dagster.engine.base import Limits, Role, Sampled
from agentprm_dagster.engine.settings import EngineSettings
from agentprm_dagster.section import OneOrSeveral


class Settings(EngineSettings):
    """What it answers."""

    kind: Literal["parrot"] = "parrot"
    tokens: OneOrSeveral[int] = (7,)


def load(checkpoint: Path, role: Role, settings: Settings) -> int:
    from agentprm_dagster.engine import checkpoints

    return len(checkpoints.load_tokenizer(checkpoint))


def open(model: int, settings: Settings, *, conversations: int) -> "Parrot":  # noqa: A001  # the protocol's
    return Parrot(model, settings.tokens)


class Parrot:
    """As likely to say a token as any other."""

    def __init__(self, vocabulary: int, says: Sequence[int]) -> None:
        self.vocabulary, self.says, self.tokens_read = vocabulary, list(says), 0

    def begin(self, conversation: int, ids: Sequence[int]) -> None:
        self.tokens_read += len(ids)

    def extend(self, conversation: int, ids: Sequence[int]) -> None:
        self.tokens_read += len(ids)

    def prefill(self, conversations: Sequence[int]) -> None:
        pass

    def sample(
        self, conversations: Sequence[int], n: int, limits: Limits, *, temperature: float, seeds: Sequence[int]
    ) -> Sampled:
        ids = self.says[: limits.max_new_tokens]
        ended = len(self.says) < limits.max_new_tokens
        rows = len(conversations)
        return Sampled([[ids] * n] * rows, [[ended] * n] * rows, self._log_p(torch.full((rows, n), len(ids) + ended)))

    def score(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        return torch.tensor([[float(len(ids)) for ids in each] for each in continuations])

    def log_probs(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        return self._log_p(self.score(conversations, continuations))

    def keep(self, conversations: Sequence[int], choice: Sequence[int], tokens: Sequence[int]) -> None:
        pass

    def _log_p(self, counts: torch.Tensor) -> torch.Tensor:
        return counts * -torch.tensor(float(self.vocabulary)).log()
