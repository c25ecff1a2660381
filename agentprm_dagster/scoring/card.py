"""The score card: who played what, every game as it was played, and the numbers that follow from that."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from agentprm_dagster.provenance.canonical import digest_of
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import EngineName, Panel, Sha256
from agentprm_dagster.scoring.players import AgentRecord
from agentprm_dagster.scoring.records import Run
from agentprm_dagster.scoring.results import Result
from agentprm_dagster.section import AtOnce, Distinct, NotNegative, Section, Temperature, Tokens

MOST_BYTES = 256 * 2**20
"""How large a card's file may be."""

_GAME = "id"
"""What a game has, listed or played: it stands in one line of the file."""


class EvaluationProtocol(Section):
    """How the agent was asked. Cards of one panel may be compared, whatever they say here."""

    prompt: str | None = None
    """`scoring.prompts`; None where the agent was handed observations and commands."""
    text: str | None = None
    """The prompt's words."""
    temperature: Temperature | None = None
    max_new_tokens: Tokens | None = None
    best_of: AtOnce = 1
    """Answers of which a reward model chose one."""
    seeds: Annotated[Distinct[NotNegative], Field(min_length=1)] = (0,)
    """Of sampling."""
    request: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of every request to a server."""

    @property
    def digest(self) -> str:
        """sha256 over all of it; a request without further fields has none, as cards were made before it could have."""
        return digest_of(self.model_dump(mode="json", exclude=set() if self.request else {"request"}))


class Made(Section):
    """What it was played with."""

    engine: EngineName
    environment: dict[str, str]
    """Versions, processor, the type of products, as manifests have them."""
    package: str
    commit: str | None
    """None outside a checkout."""


class Training(Section):
    """What training the agent took; of several, their mean."""

    hours: Annotated[float, Field(ge=0)]
    processor: str
    stated: bool
    """Whether the user says it; otherwise it is the sum over the artifacts that the policy was made from."""


class Card(Section):
    """A score card."""

    version: Literal[1] = 1
    name: str
    agents: Annotated[tuple[AgentRecord, ...], Field(min_length=1)]
    """Several are one agent that was trained under several seeds."""
    panel: Panel
    panel_digest: Sha256
    protocol: EvaluationProtocol
    protocol_digest: Sha256
    runs: Annotated[tuple[Run, ...], Field(min_length=1)]
    results: tuple[Result, ...]
    made: Made
    training: Training | None = None

    def to_json(self) -> str:
        """The card as JSON, a game a line."""
        return "".join(_lines(self.model_dump(mode="json"))) + "\n"


def read_card(path: Path) -> Card:
    """The card in a file.

    Raises:
        ScoreError: it is none, or of a version that this one does not know.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ScoreError(f"{path}: expected a score card of at most {MOST_BYTES} bytes")
        return Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise ScoreError(f"{path}: expected a score card, version 1; {place}: {first['msg']}{more}") from error


def _lines(value: Any, depth: int = 0) -> Iterator[str]:
    """JSON with an element a line, but for games and plain lists."""
    elements = list(value.values() if isinstance(value, dict) else value) if isinstance(value, dict | list) else []
    is_plain = isinstance(value, list) and not any(isinstance(each, dict | list) for each in elements)
    if not elements or is_plain or (isinstance(value, dict) and _GAME in value):
        yield json.dumps(value, ensure_ascii=False, allow_nan=False)
        return
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    heads = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    yield opened
    for i, (head, each) in enumerate(zip(heads, elements, strict=True)):
        yield f"{',' * (i > 0)}\n{' ' * (depth + 1)}{head}"
        yield from _lines(each, depth + 1)
    yield f"\n{' ' * depth}{closed}"
