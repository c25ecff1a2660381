"""Which policy explores in which iteration: the back edge of the loop, as a record that only grows."""

from dataclasses import asdict
from typing import Self

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from agentprm_dagster.provenance.canonical import canonical, seal, unseal
from agentprm_dagster.provenance.manifest import Input

ROLE = "behaviour_policy"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Announcement:
    """A policy named as the behaviour policy of an iteration."""

    policy: Input
    """The policy and its maker, as an input of role `behaviour_policy`."""
    announced: str
    """ISO 8601, UTC."""
    by: str | None = None
    """Who or what decided it: a person, or `promotion`; None where nothing had to be decided."""
    why: str | None = None
    """The reasons."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Announcements:
    """All announcements for one iteration, the first one first; the last one counts."""

    announcements: tuple[Announcement, ...]

    def to_json(self) -> str:
        """The sealed text of the record."""
        return seal(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `to_json`'s text; ValueError if it was changed."""
        return TypeAdapter(cls).validate_json(canonical(unseal(text)))
