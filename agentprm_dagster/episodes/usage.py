"""What playing took: the tokens that models read and drew, and the time that the environment had."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from time import perf_counter
from typing import Self


@dataclass(slots=True)
class Usage:
    """Counted while episodes are played; those of several players add up."""

    tokens_read: int = 0
    """Tokens that a policy or PRM read, each once: what a cache held already was not read again."""
    tokens_drawn: int = 0
    """Tokens of all answers drawn, end tokens included, whether an answer was given or not."""
    environment_seconds: float = 0.0
    """Time inside the games, on one core."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @contextmanager
    def environment(self) -> Iterator[None]:
        """What happens within it is the environment's time."""
        start = perf_counter()
        try:
            yield
        finally:
            self.environment_seconds += perf_counter() - start

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.tokens_read + self.tokens_drawn

    def metrics(self) -> dict[str, float]:
        """The counts by name, and `tokens`, all of them."""
        return {"tokens": self.tokens, **asdict(self)}


@dataclass(slots=True)
class Asked(Usage):
    """The same of a language model behind a server, and which of its answers were of little use."""

    cut_answers: int = 0
    """Answers that ended at the longest that may be drawn."""
    filtered_answers: int = 0
    """Answers that the server's content filter withheld or cut."""
    empty_answers: int = 0
    """Answers without a word, besides what was only thinking."""
    refusals: tuple[str, ...] = ()
    """What the server said of each prompt that it refused for good, which ended an episode."""

    def metrics(self) -> dict[str, float]:
        """The counts by name, `tokens`, and `refused_episodes`."""
        counts = Usage.metrics(self)
        del counts["refusals"]
        return {**counts, "refused_episodes": len(self.refusals)}
