"""Settings of a language model behind a server: how it is asked, and what it may cost."""

from typing import Annotated, Self

from pydantic import Field, JsonValue, model_validator

from agentprm_dagster.section import AtOnce, PositiveFloat, Section, Temperature, Tokens

OWN_FIELDS = {"model", "messages", "temperature", "max_tokens", "n", "stream"}

Price = Annotated[float, Field(ge=0, le=1e6)]


class Llm(Section):
    """A language model behind an OpenAI-compatible server, which demonstrates or is judged beside the policies.

    Which model it is, and where, stands in the environment (`engine/served/chat_server.py`).
    """

    evaluate: bool = False
    """Whether it plays the games of `evaluation` too, once each, for rows of `results` (asset `react_report`)."""
    temperature: Temperature | None = 0.3
    """As in the authors' evaluations; null leaves it to the server."""
    max_new_tokens: Tokens | None = 256
    """Sent as `max_tokens`; null sends no limit, and then a budget can be exceeded by the answers under way."""
    request: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of every request, as this server knows them: {reasoning_effort: low}, {seed: 0}."""
    concurrency: AtOnce = 8
    """Episodes played at the same time, each with one request under way."""
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 120
    """Seconds that one request may take, from its sending to the last byte of its answer."""
    retries: Annotated[int, Field(ge=0, le=100)] = 6
    """How often a request is sent again, after growing waits, where the server is busy, failing or out of reach, or
    where what it sends is no completion."""
    budget_tokens: Annotated[int, Field(gt=0, le=10**12)] | None = 20_000_000
    """Tokens read and drawn that an artifact may cost, over all attempts to make it, as the answers tell them: what a
    server charges for a request that failed or took too long is not known."""
    budget_money: PositiveFloat | None = None
    """What it may cost, in the currency of the prices."""
    price_read: Price = 0.0
    """Of a million tokens read."""
    price_drawn: Price = 0.0
    """Of a million tokens drawn."""

    @model_validator(mode="after")
    def money_needs_prices(self) -> Self:
        if self.budget_money and not (self.price_read or self.price_drawn):
            raise ValueError("budget_money needs prices: set price_read and price_drawn, each for a million tokens")
        return self

    @model_validator(mode="after")
    def request_adds(self) -> Self:
        if taken := sorted(OWN_FIELDS & self.request.keys()):
            raise ValueError(f"request names {', '.join(taken)}, which the other settings and the environment decide")
        return self
