"""The rooms of a game and the ways between them, as its logic has them."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agentprm_dagster.envs.textworld.engine import Facts

DIRECTIONS = ("north", "east", "south", "west")


class Exit(NamedTuple):
    """A way out of a room."""

    direction: str
    room: str
    """The id of the room that it leads to."""
    door: str | None
    """The id of the door in it."""


class Rooms:
    """The rooms of a game, by id, with their exits."""

    def __init__(self, facts: Facts, order: Sequence[str] = DIRECTIONS) -> None:
        """
        Args:
            facts: of any moment of the game.
            order: in which exits are tried.
        """
        doors = {(f.arguments[0].name, f.arguments[2].name): f.arguments[1].name for f in facts if f.name == "link"}
        self.exits: dict[str, list[Exit]] = {}
        for fact in facts:
            direction = fact.name.removesuffix("_of")
            if direction in DIRECTIONS:
                beyond, here = (argument.name for argument in fact.arguments)
                self.exits.setdefault(here, []).append(Exit(direction, beyond, doors.get((here, beyond))))
        for exits in self.exits.values():
            exits.sort(key=lambda exit_: order.index(exit_.direction))

    def way(self, start: str, ends: Callable[[str], bool], through: Callable[[str], bool]) -> Exit | None:
        """The first exit on a shortest way to the nearest room that `ends`; None where there is none, or one is there.

        `through`: which rooms may lie on the way.
        """
        waiting = deque((exit_, exit_.room) for exit_ in self.exits.get(start, ()))
        reached = {start}
        while waiting and not ends(start):
            first, room = waiting.popleft()
            if room in reached:
                continue
            if ends(room):
                return first
            reached.add(room)
            if through(room):
                waiting.extend((first, exit_.room) for exit_ in self.exits.get(room, ()))
        return None


def room_of(facts: Any) -> str | None:
    """The id of the room that the player is in, of facts that tell it."""
    return next((f.arguments[1].name for f in facts if f.name == "at" and f.arguments[0].type == "P"), None)


def is_closed(facts: Facts, door: str) -> bool:
    """Whether a door must be opened first."""
    return any(fact.name == "closed" and fact.arguments[0].name == door for fact in facts)


def place_of(facts: Facts, thing: str) -> str | None:
    """The id of the room that a thing is in, or of one it is kept in; None where it is carried or gone."""
    holders = {f.arguments[0].name: f.arguments[1] for f in facts if f.name in ("at", "in", "on")}
    holder = holders.get(thing)
    while holder is not None and holder.type != "r":
        holder = holders.get(holder.name)
    return None if holder is None else str(holder.name)
