"""What asking a language model may cost: nothing is asked that could go beyond."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from agentprm_dagster.engine.served.replies import Reply
from agentprm_dagster.engine.served.served_model import LlmError
from agentprm_dagster.engine.served.settings import Llm
from agentprm_dagster.episodes.dialogue import Message
from agentprm_dagster.episodes.usage import Usage


class BudgetExceeded(LlmError):
    """The next question could cost more than is left."""


class Budget:
    """Counts tokens and money; several threads spend at once."""

    def __init__(self, limits: Llm) -> None:
        self.spent = Usage()
        """What all answers took."""
        self._limits, self._lock, self._closed = limits, Lock(), False
        self._reserved = Usage()

    @contextmanager
    def room(self, messages: Sequence[Message]) -> Iterator[None]:
        """Headroom for one question and the longest answer, while it is asked.

        Raises:
            BudgetExceeded: with all that is under way it could cost more than is left.
            LlmError: the budget was closed.
        """
        # A token is at least a byte, and seldom less than three: what a chat template adds is covered.
        most = Usage(sum(len(message["content"].encode()) for message in messages), self._limits.max_new_tokens or 0)
        with self._lock:
            self._refuse(most)
            self._reserved += most
        try:
            yield
        finally:
            with self._lock:
                self._reserved += Usage(-most.tokens_read, -most.tokens_drawn)

    def pay(self, took: Reply | Usage) -> None:
        """Counts what an answer took."""
        with self._lock:
            self.spent += Usage(took.tokens_read, took.tokens_drawn)

    def waste(self, took: Usage) -> None:
        """Counts what an invalid answer took, while there is `room` for its question, which is to be asked again.

        Raises:
            BudgetExceeded: asked again it could cost more than is left.
            LlmError: the budget was closed.
        """
        self.pay(took)
        with self._lock:
            self._refuse(Usage())

    def close(self) -> None:
        """Nothing more is to be asked."""
        self._closed = True

    def _refuse(self, most: Usage) -> None:
        if self._closed:
            raise LlmError("stopped, as another episode has failed")
        limits, expected = self._limits, self.spent + self._reserved + most
        if limits.budget_tokens is not None and expected.tokens > limits.budget_tokens:
            raise BudgetExceeded(
                f"{self.spent.tokens} of llm.budget_tokens {limits.budget_tokens} are spent, and the questions under "
                f"way with one more could take {expected.tokens - self.spent.tokens}: raise it to go on"
            )
        if limits.budget_money is not None and price(expected, limits) > limits.budget_money:
            raise BudgetExceeded(
                f"{price(self.spent, limits):.4f} of llm.budget_money {limits.budget_money:g} are spent "
                f"({self.spent.tokens} tokens), and the questions under way with one more could cost "
                f"{price(expected, limits) - price(self.spent, limits):.4f}: raise it to go on"
            )


def price(usage: Usage, prices: Llm) -> float:
    """What tokens cost, in the currency of the prices."""
    return (usage.tokens_read * prices.price_read + usage.tokens_drawn * prices.price_drawn) / 1e6
