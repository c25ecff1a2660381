"""Makes up rooms: which receptacles stand in them, where, and how the game names them.

A room depends on the seed, its number and the size alone, so that all games of a room share it, as floor plans do in
ALFRED. Only varied rooms differ from game to game.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agentprm_dagster.envs.alfworld.generate_tables import (
    EXTENTS,
    FIRST_ROOM,
    SHARED_SPOT,
    Furniture,
    Kind,
    Size,
    furniture,
)

_REACH_CM = 400
_TILTS = (-30, 0, 30, 45, 60)
_OPENABLE = frozenset({"Cabinet", "Drawer", "Fridge", "Microwave", "Safe"})
_SOMETIMES_OPEN = ("Cabinet", "Drawer")
"""Of these a varied room may have some that cannot be closed. In 150 games of ALFWorld's `train` 40% of the rooms with
cabinets have such ones, 13% of all cabinets; 31% of those with drawers, 18% of all drawers."""
_ROOMS_WITH_OPEN = 0.4
_MOST_OPEN = 0.8
"""The largest share of a type in such a room."""


@dataclass(frozen=True)
class Receptacle:
    """A place that holds objects."""

    type: str
    """As ALFRED spells it: "CounterTop"."""
    id: str
    """Its PDDL identifier, from which the engine derives the name."""
    name: str
    """What the game calls it: "countertop 1"."""
    location: str
    """PDDL identifier of the spot it is reached from; several receptacles may share one."""
    openable: bool
    """Whether it must be opened before anything can be taken out or put in; it starts closed."""


@dataclass(frozen=True)
class Room:
    """A furnished room, without the objects that differ from game to game."""

    number: int
    kind: Kind
    receptacles: tuple[Receptacle, ...]
    start: str
    """PDDL identifier of the spot the agent starts from, where no receptacle is reached."""

    @property
    def types(self) -> frozenset[str]:
        """The receptacle types that occur."""
        return frozenset(receptacle.type for receptacle in self.receptacles)

    def of_type(self, wanted: str) -> tuple[Receptacle, ...]:
        """All receptacles of a type."""
        return tuple(receptacle for receptacle in self.receptacles if receptacle.type == wanted)


def kind_of(number: int) -> Kind:
    """The kind of room a floor-plan number stands for."""
    return max((kind for kind in FIRST_ROOM if FIRST_ROOM[kind] <= number), key=lambda kind: FIRST_ROOM[kind])


def furnish(number: int, size: Size, seed: int, game: str = "") -> Room:
    """The room of that number; always the same one for the same seed and size, and where it is varied, game."""
    rng = random.Random(f"room {seed} {size} {number}" + (f" {game}" if size == "varied" else ""))
    kind = kind_of(number)
    choice = furniture(kind, size)
    if size == "varied":  # one room holds drawers above all, and another shelves
        choice = {name: replace(each, weight=each.weight * rng.lognormvariate(0, 1)) for name, each in choice.items()}
    types = _choose_furniture(choice, rng.randint(*EXTENTS[size][kind].receptacles), rng)
    ids = make_ids(types, rng)
    names = game_names(zip(types, ids, strict=True))
    spots, start = _choose_spots(types, SHARED_SPOT[size], rng)
    doors = _choose_doors(types, rng) if size == "varied" else [type_ in _OPENABLE for type_ in types]
    receptacles = (
        Receptacle(*each) for each in zip(types, ids, map(names.__getitem__, ids), spots, doors, strict=True)
    )
    return Room(number, kind, tuple(receptacles), start)


def make_ids(types: Sequence[str], rng: random.Random) -> list[str]:
    """PDDL identifiers in AI2-THOR's manner, type and position ("Mug|-00.31|+00.90|+01.20"), escaped; all differ."""
    columns = rng.sample(range(-_REACH_CM, _REACH_CM), len(types))
    return [_escape(_thor_id(type_, x / 100, rng)) for type_, x in zip(types, columns, strict=True)]


def game_names(typed_ids: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The name each id gets in the game, by id.

    Numbers instances as alfworld's `Demangler` does: the last id in string order is number 1.
    """
    counts: Counter[str] = Counter()
    names = {}
    for type_, id_ in sorted(typed_ids, key=lambda pair: pair[1], reverse=True):
        counts[type_] += 1
        names[id_] = f"{type_.lower()} {counts[type_]}"
    return names


def _choose_furniture(choice: Mapping[str, Furniture], count: int, rng: random.Random) -> list[str]:
    types = [type_ for type_, piece in choice.items() for _ in range(piece.least)]
    while len(types) < count:
        free = [type_ for type_, piece in choice.items() if types.count(type_) < piece.most and piece.weight]
        types += rng.choices(free, [choice[type_].weight for type_ in free])
    return sorted(types)


def _choose_spots(types: Sequence[str], shared: float, rng: random.Random) -> tuple[list[str], str]:
    """A spot for every receptacle, and one more to start from."""
    columns = rng.sample(range(-16, max(33, len(types) - 15)), len(types) + 1)
    fresh = [_escape(f"loc|{x}|{rng.randint(-16, 16)}|{rng.randrange(4)}|{rng.choice(_TILTS)}") for x in columns]
    spots: list[str] = []
    for i, type_ in enumerate(types):
        beside = i > 0 and types[i - 1] == type_ and rng.random() < shared
        spots.append(spots[-1] if beside else fresh[i])
    return spots, fresh[-1]


def _choose_doors(types: Sequence[str], rng: random.Random) -> list[bool]:
    """Which receptacles can be opened and closed."""
    open_ = {type_: rng.uniform(0, _MOST_OPEN) for type_ in _SOMETIMES_OPEN if rng.random() < _ROOMS_WITH_OPEN}
    return [type_ in _OPENABLE and rng.random() >= open_.get(type_, 0.0) for type_ in types]


def _thor_id(type_: str, x: float, rng: random.Random) -> str:
    y, z = rng.randint(0, 200) / 100, rng.randint(-_REACH_CM, _REACH_CM) / 100
    position = f"{x:+06.2f}|{y:+06.2f}|{z:+06.2f}"
    # A basin is a part of its sink: alfworld names "Sink|...|SinkBasin" a sinkbasin.
    if type_.endswith("Basin"):
        return f"{type_.removesuffix('Basin')}|{position}|{type_}"
    return f"{type_}|{position}"


def _escape(thor_id: str) -> str:
    for mark, word in (("|", "_bar_"), ("+", "_plus_"), ("-", "_minus_"), (".", "_dot_")):
        thor_id = thor_id.replace(mark, word)
    return thor_id
