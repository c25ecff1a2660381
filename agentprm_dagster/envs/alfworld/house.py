"""What a game's house is made of, as far as no command changes it.

Receptacles, things and places are numbered in the alphabetical order of their PDDL ids, the order in which the stock
engine lists them: a sorted tuple of numbers is a listing in the right order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agentprm_dagster.envs.alfworld.goal import Goal
from agentprm_dagster.envs.alfworld.state import State


@dataclass(frozen=True, slots=True)
class Receptacle:
    """Furniture and appliances: what things are in or on."""

    name: str
    place: int
    openable: bool
    accepts: frozenset[int]
    """The things that may be moved to it."""
    treats: frozenset[str]
    """Which of "clean", "heat" and "cool" it does."""


@dataclass(frozen=True, slots=True)
class Thing:
    """What can be in a receptacle: PDDL's type `object`."""

    name: str
    abilities: frozenset[str]
    """Which of "pickupable", "cleanable", "heatable", "coolable", "toggleable" and "sliceable" it is."""
    is_knife: bool
    inside: tuple[str, ...] | None
    """The names of what a container such as a mug contains; None where the thing is no container."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the agent can stand. Several receptacles can be at hand from one place; none are where most games start."""

    name: str
    at_hand: tuple[int, ...]
    """The receptacles that can be used from here."""
    examine: tuple[str, ...]
    """The commands that examine them, sorted."""
    leave: tuple[str, ...]
    """The commands that go to a receptacle elsewhere, sorted."""


@dataclass(frozen=True, slots=True, eq=False)
class House:
    """All that a game's PDDL problem says."""

    agent: str
    """The agent's name in facts: "agent1"."""
    receptacles: tuple[Receptacle, ...]
    things: tuple[Thing, ...]
    places: tuple[Place, ...]
    receptacle_numbers: Mapping[str, int]
    """Name to position in `receptacles`."""
    thing_numbers: Mapping[str, int]
    """Name to position in `things`."""
    switches: frozenset[int]
    """The things that can be used."""
    goal: Goal
    start: State
