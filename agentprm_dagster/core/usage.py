"""What playing took: the tokens that models read and drew, and the time that the environment had."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter


@dataclass(slots=True)
class Usage:
    """Counted while episodes are played; those of several players add up."""

    tokens_read: int = 0
    """Tokens that a policy or PRM read, each once: what a cache held already was not read again."""
    tokens_drawn: int = 0
    """Tokens of all answers drawn, end tokens included, whether an answer was given or not."""
    environment_seconds: float = 0.0
    """Time inside the games, on one core."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.tokens_read + other.tokens_read,
            self.tokens_drawn + other.tokens_drawn,
            self.environment_seconds + other.environment_seconds,
        )

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
