"""What rooms hold and where things lie in them: the tables that generated games are drawn from.

The numbers are rounded shares counted over ALFWorld's own training games, so that what an agent learns about where
to look carries over. Types are spelt as in ALFRED ("CounterTop"); what fits where, and what can be heated, cooled or
cleaned, is read from alfworld's own constants when games are made.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from agentprm_dagster.envs.alfworld.tasks import TaskType

Size = Literal["small", "medium", "full", "varied"]
"""How large rooms are. `full` is like the real ones; `varied` as large, with more of a kind, one for each game."""

Kind = Literal["kitchen", "living", "bedroom", "bathroom"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FIRST_ROOM: dict[Kind, int] = {"kitchen": 1, "living": 201, "bedroom": 301, "bathroom": 401}
"""ALFRED's numbering of floor plans: a room's number tells its kind."""

TASK_KINDS: dict[TaskType, tuple[Kind, ...]] = {
    "pick_and_place_simple": KINDS,
    "look_at_obj_in_light": ("living", "bedroom"),
    "pick_clean_then_place_in_recep": ("kitchen", "bathroom"),
    "pick_heat_then_place_in_recep": ("kitchen",),
    "pick_cool_then_place_in_recep": ("kitchen",),
    "pick_two_obj_and_place": KINDS,
}


@dataclass(frozen=True)
class Extent:
    """How much a room holds; both ranges include their ends."""

    receptacles: tuple[int, int]
    objects: tuple[int, int]


EXTENTS: dict[Size, dict[Kind, Extent]] = {
    "small": dict.fromkeys(KINDS, Extent((6, 10), (8, 14))),
    "medium": {
        "kitchen": Extent((14, 20), (18, 28)),
        "living": Extent((8, 13), (12, 18)),
        "bedroom": Extent((9, 13), (12, 20)),
        "bathroom": Extent((9, 13), (10, 15)),
    },
    "full": {
        "kitchen": Extent((22, 40), (36, 52)),
        "living": Extent((8, 20), (15, 26)),
        "bedroom": Extent((9, 22), (18, 28)),
        "bathroom": Extent((11, 18), (12, 19)),
    },
    "varied": {
        "kitchen": Extent((16, 52), (36, 52)),
        "living": Extent((7, 26), (15, 26)),
        "bedroom": Extent((8, 28), (18, 28)),
        "bathroom": Extent((8, 24), (12, 19)),
    },
}

SHARED_SPOT: dict[Size, float] = {"small": 0.0, "medium": 0.05, "full": 0.1, "varied": 0.1}
"""How often a cabinet, drawer, burner, ... is reached from the same spot as the one before it."""


@dataclass(frozen=True)
class Furniture:
    """How many receptacles of a type one kind of room holds."""

    least: int
    most: int
    weight: float
    """Its chance, against the others', when room is left beyond the least."""


FURNITURE: dict[Kind, dict[str, Furniture]] = {
    "kitchen": {
        "Cabinet": Furniture(1, 20, 12),
        "CoffeeMachine": Furniture(0, 1, 3),
        "CounterTop": Furniture(1, 3, 2),
        "DiningTable": Furniture(0, 2, 1.5),
        "Drawer": Furniture(1, 12, 6),
        "Fridge": Furniture(1, 1, 0),
        "GarbageCan": Furniture(0, 1, 4),
        "Microwave": Furniture(1, 1, 0),
        "Shelf": Furniture(0, 3, 0.6),
        "SideTable": Furniture(0, 1, 0.4),
        "SinkBasin": Furniture(1, 1, 0),
        "StoveBurner": Furniture(0, 4, 4),
        "Toaster": Furniture(0, 1, 1),
    },
    "living": {
        "ArmChair": Furniture(0, 2, 3),
        "Cabinet": Furniture(0, 6, 1),
        "CoffeeTable": Furniture(1, 1, 0),
        "DiningTable": Furniture(0, 1, 1),
        "Drawer": Furniture(0, 8, 4),
        "Dresser": Furniture(0, 1, 1),
        "GarbageCan": Furniture(0, 1, 2),
        "Ottoman": Furniture(0, 1, 0.5),
        "Shelf": Furniture(0, 8, 3),
        "SideTable": Furniture(1, 3, 1.5),
        "Sofa": Furniture(1, 2, 0.5),
        "TVStand": Furniture(0, 1, 1),
    },
    "bedroom": {
        "ArmChair": Furniture(0, 1, 0.5),
        "Bed": Furniture(1, 1, 0),
        "Cabinet": Furniture(0, 4, 0.7),
        "Desk": Furniture(1, 1, 0),
        "Drawer": Furniture(1, 10, 5),
        "Dresser": Furniture(0, 1, 1.5),
        "GarbageCan": Furniture(0, 1, 2),
        "LaundryHamper": Furniture(0, 1, 0.7),
        "Safe": Furniture(0, 1, 0.5),
        "Shelf": Furniture(0, 8, 3),
        "SideTable": Furniture(0, 2, 2),
    },
    "bathroom": {
        "BathtubBasin": Furniture(0, 1, 2),
        "Cabinet": Furniture(0, 8, 3),
        "Cart": Furniture(0, 1, 0.3),
        "CounterTop": Furniture(1, 1, 0),
        "Drawer": Furniture(0, 8, 3),
        "GarbageCan": Furniture(1, 1, 0),
        "HandTowelHolder": Furniture(0, 2, 2),
        "Shelf": Furniture(0, 3, 1),
        "SideTable": Furniture(0, 1, 0.3),
        "SinkBasin": Furniture(1, 2, 1.5),
        "Toilet": Furniture(1, 1, 0),
        "ToiletPaperHanger": Furniture(0, 1, 2),
        "TowelHolder": Furniture(0, 1, 2),
    },
}

_ONE_OF = frozenset({"CoffeeMachine", "Fridge", "Microwave", "StoveBurner", "Toaster", "Toilet"})
"""Receptacles of which also a varied room holds no more."""
_ROWS = {"Cabinet": 30, "Drawer": 30, "Shelf": 16}
"""Receptacles that stand in rows, and how long these may be in a varied room; the longest real ones are 27, 27, 14, and
the number of a place that nothing was read about is a word that means nothing."""


def furniture(kind: Kind, size: Size) -> dict[str, Furniture]:
    """What one kind of room may hold.

    A varied one may hold three of nearly everything and long rows of what stands in rows. Some real rooms do, such as
    bedrooms with two beds and desks or 13 drawers: too few to learn from, so that most games are lost in such rooms.
    """
    return {name: _varied(name, piece) if size == "varied" else piece for name, piece in FURNITURE[kind].items()}


def _varied(name: str, piece: Furniture) -> Furniture:
    if name in _ONE_OF:
        return piece
    return replace(piece, most=max(piece.most, _ROWS.get(name, 3)), weight=max(piece.weight, 1.5))


NOT_PORTABLE = frozenset({"DeskLamp", "HousePlant", "Television"})
"""Objects that lie in receptacles but cannot be picked up; a room holds at most one of each."""

NO_GOAL = frozenset({"BathtubBasin", "HandTowelHolder", "SinkBasin", "Toaster", "TowelHolder"})
"""Receptacles that no task asks to put something into."""


def _shares(text: str) -> dict[str, float]:
    """'Fridge 40 CounterTop 60' as {'Fridge': 40.0, 'CounterTop': 60.0}."""
    words = text.split()
    return {name: float(share) for name, share in zip(words[::2], words[1::2], strict=True)}


_FOUND_IN: dict[Kind, dict[str, str]] = {
    "kitchen": {
        "Apple": "Fridge 28 CounterTop 26 DiningTable 14 Microwave 12 GarbageCan 12 SinkBasin 8",
        "Bowl": "Cabinet 38 Fridge 20 CounterTop 22 DiningTable 14 SinkBasin 6",
        "Bread": "CounterTop 58 DiningTable 28 Fridge 14",
        "ButterKnife": "CounterTop 60 DiningTable 24 Drawer 10 SinkBasin 6",
        "Cup": "Cabinet 26 CounterTop 22 Fridge 20 DiningTable 14 SinkBasin 10 Microwave 8",
        "DishSponge": "CounterTop 26 Cabinet 24 Drawer 22 DiningTable 12 SinkBasin 8 GarbageCan 8",
        "Egg": "Fridge 28 CounterTop 24 Microwave 14 GarbageCan 12 SinkBasin 12 DiningTable 10",
        "Fork": "CounterTop 46 DiningTable 24 Drawer 22 SinkBasin 8",
        "Glassbottle": "Cabinet 32 CounterTop 26 DiningTable 16 Fridge 14 SinkBasin 12",
        "HousePlant": "CounterTop 75 DiningTable 25",
        "Kettle": "StoveBurner 42 CounterTop 30 Cabinet 24 DiningTable 4",
        "Knife": "CounterTop 50 DiningTable 28 Drawer 18 SinkBasin 4",
        "Ladle": "CounterTop 46 Cabinet 26 Drawer 20 DiningTable 8",
        "Lettuce": "CounterTop 44 DiningTable 26 Fridge 24 SinkBasin 6",
        "Mug": "CounterTop 26 CoffeeMachine 18 Cabinet 16 Fridge 14 DiningTable 12 Microwave 8 SinkBasin 6",
        "Pan": "StoveBurner 54 CounterTop 32 Cabinet 6 DiningTable 4 Fridge 4",
        "PepperShaker": "CounterTop 34 Cabinet 32 DiningTable 18 Drawer 16",
        "Plate": "Cabinet 44 CounterTop 28 DiningTable 16 Fridge 12",
        "Pot": "StoveBurner 74 CounterTop 14 Fridge 6 Cabinet 6",
        "Potato": "CounterTop 30 Fridge 26 DiningTable 18 SinkBasin 10 Microwave 10 GarbageCan 6",
        "SaltShaker": "Cabinet 34 CounterTop 32 DiningTable 18 Drawer 16",
        "SoapBottle": "CounterTop 34 Cabinet 30 DiningTable 22 GarbageCan 14",
        "Spatula": "CounterTop 46 DiningTable 26 Drawer 18 SinkBasin 10",
        "Spoon": "CounterTop 38 Drawer 28 DiningTable 22 SinkBasin 12",
        "Tomato": "Fridge 36 CounterTop 30 DiningTable 18 GarbageCan 10 SinkBasin 6",
        "Vase": "CounterTop 40 Cabinet 30 Shelf 30",
        "WineBottle": "CounterTop 38 Cabinet 28 DiningTable 26 GarbageCan 8",
    },
    "living": {
        "Book": "CoffeeTable 34 Dresser 24 Sofa 16 ArmChair 14 DiningTable 12",
        "Box": "CoffeeTable 26 Sofa 24 DiningTable 22 SideTable 14 Cabinet 14",
        "Candle": "SideTable 42 DiningTable 28 CoffeeTable 20 Drawer 10",
        "CellPhone": "CoffeeTable 26 SideTable 20 Sofa 16 Dresser 14 Drawer 12 ArmChair 12",
        "CreditCard": "Sofa 24 CoffeeTable 16 ArmChair 14 Drawer 14 SideTable 14 Dresser 10 TVStand 8",
        "DeskLamp": "SideTable 90 CoffeeTable 10",
        "HousePlant": "SideTable 54 CoffeeTable 28 Dresser 18",
        "KeyChain": "Drawer 26 CoffeeTable 20 SideTable 18 ArmChair 14 Sofa 14 Dresser 8",
        "Laptop": "Sofa 30 CoffeeTable 26 DiningTable 20 Dresser 14 SideTable 10",
        "Newspaper": "Sofa 24 CoffeeTable 22 Shelf 16 SideTable 14 DiningTable 14 ArmChair 10",
        "Pen": "CoffeeTable 40 SideTable 26 Dresser 20 Shelf 8 Drawer 6",
        "Pencil": "CoffeeTable 44 SideTable 38 Dresser 10 Shelf 8",
        "Pillow": "Sofa 82 ArmChair 18",
        "Plate": "DiningTable 46 CoffeeTable 34 Shelf 12 SideTable 8",
        "RemoteControl": "CoffeeTable 26 Sofa 20 SideTable 18 DiningTable 10 TVStand 10 ArmChair 8 Dresser 8",
        "Statue": "CoffeeTable 28 Shelf 22 DiningTable 18 SideTable 18 TVStand 14",
        "Television": "TVStand 50 Dresser 50",
        "TissueBox": "CoffeeTable 42 DiningTable 24 SideTable 20 Shelf 14",
        "Vase": "Shelf 42 CoffeeTable 22 DiningTable 18 SideTable 18",
        "Watch": "CoffeeTable 28 SideTable 22 Drawer 20 DiningTable 14 TVStand 16",
        "WateringCan": "CoffeeTable 66 Shelf 30 SideTable 4",
    },
    "bedroom": {
        "AlarmClock": "Desk 38 Shelf 22 SideTable 22 Dresser 18",
        "Book": "Bed 54 Desk 22 Drawer 12 Shelf 6 Dresser 6",
        "Bowl": "Desk 48 Shelf 28 Dresser 18 SideTable 6",
        "CD": "Drawer 30 Desk 24 SideTable 14 Dresser 12 Shelf 12 GarbageCan 8",
        "CellPhone": "Bed 28 Desk 24 Drawer 20 Dresser 12 SideTable 10 Shelf 6",
        "CreditCard": "Drawer 32 Desk 20 SideTable 20 Shelf 14 Dresser 14",
        "DeskLamp": "Desk 36 SideTable 32 Dresser 20 Shelf 12",
        "HousePlant": "Shelf 46 Desk 36 Dresser 18",
        "KeyChain": "Drawer 28 Shelf 20 Desk 18 SideTable 18 Dresser 14 Safe 2",
        "Laptop": "Bed 74 Desk 22 Dresser 4",
        "Mug": "Desk 42 Shelf 20 Dresser 20 SideTable 18",
        "Pen": "Desk 36 Drawer 18 SideTable 16 Shelf 16 Dresser 14",
        "Pencil": "Desk 30 SideTable 20 Drawer 18 Shelf 16 Dresser 16",
        "Pillow": "Bed 98 ArmChair 2",
        "Statue": "Shelf 54 Dresser 26 Desk 20",
        "TissueBox": "Drawer 40 Desk 38 Shelf 12 SideTable 10",
        "Vase": "Shelf 56 Dresser 34 Desk 10",
        "Watch": "Drawer 46 Desk 24 Dresser 16 Shelf 14",
    },
    "bathroom": {
        "Candle": "CounterTop 38 Toilet 36 Drawer 14 Cabinet 12",
        "Cloth": "BathtubBasin 32 Cabinet 20 Drawer 20 CounterTop 18 SinkBasin 10",
        "DishSponge": "BathtubBasin 24 Drawer 24 CounterTop 18 SinkBasin 14 Toilet 12 GarbageCan 8",
        "HandTowel": "HandTowelHolder 96 CounterTop 4",
        "SoapBar": "CounterTop 20 SinkBasin 18 Toilet 16 Drawer 14 Cabinet 14 BathtubBasin 12 GarbageCan 6",
        "SoapBottle": "CounterTop 34 Toilet 28 Cabinet 24 GarbageCan 14",
        "SprayBottle": "CounterTop 36 Toilet 30 Cabinet 20 GarbageCan 14",
        "TissueBox": "CounterTop 34 Shelf 28 Drawer 26 Cabinet 12",
        "ToiletPaper": "Toilet 26 CounterTop 22 ToiletPaperHanger 14 Drawer 14 Cabinet 12 GarbageCan 12",
        "Towel": "TowelHolder 96 CounterTop 4",
    },
}

PLACES: dict[Kind, dict[str, dict[str, float]]] = {
    kind: {thing: _shares(text) for thing, text in things.items()} for kind, things in _FOUND_IN.items()
}
"""For each kind of room, the receptacle types a thing is found in, by share."""
