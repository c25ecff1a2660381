"""The part of a game that commands change."""

from typing import NamedTuple


class State(NamedTuple):
    """Where everything is and what has been done to it. Immutable and hashable: equal states play on alike.

    Receptacles, things and places are their numbers in the game's `House`.
    """

    place: int
    held: int | None
    contents: tuple[tuple[int, ...], ...]
    """For each receptacle the things in it, sorted. A thing can be in two at once: ALFRED's receptacles overlap."""
    located: tuple[tuple[int, ...], ...]
    """For each place the things that PDDL locates there, sorted; not always what its receptacles hold."""
    parted: frozenset[tuple[int, int]]
    """The (thing, receptacle) pairs that a take has parted and no move has joined again."""
    opened: frozenset[int]
    clean: frozenset[int]
    hot: frozenset[int]
    cool: frozenset[int]
    sliced: frozenset[int]
    toggled: frozenset[int]
