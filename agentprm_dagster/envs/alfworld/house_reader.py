"""From a PDDL problem to a house."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from agentprm_dagster.envs.alfworld.goal import read_goal
from agentprm_dagster.envs.alfworld.house import House, Place, Receptacle, Thing
from agentprm_dagster.envs.alfworld.pddl import Problem
from agentprm_dagster.envs.alfworld.state import State

_ABILITIES = ("pickupable", "cleanable", "heatable", "coolable", "toggleable", "sliceable")
_STATES = ("isclean", "ishot", "iscool", "issliced", "istoggled")
_KNIVES = {"knifetype", "butterknifetype"}

_KINDS = {
    "atlocation": ("agent", "place"),
    "receptacleatlocation": ("receptacle", "place"),
    "receptacletype": ("receptacle", "type"),
    "openable": ("receptacle",),
    "opened": ("receptacle",),
    "objectatlocation": ("thing", "place"),
    "objecttype": ("thing", "type"),
    "inreceptacle": ("thing", "receptacle"),
    "isreceptacleobject": ("thing",),
    "inreceptacleobject": ("thing", "thing"),
    **dict.fromkeys((*_ABILITIES, *_STATES), ("thing",)),
}
"""The predicates that are read, and what their arguments are."""


def read_house(problem: Problem, appliances: Mapping[str, frozenset[str]]) -> House:
    """The house of a problem; `appliances` are the types of receptacle that treat things, and how.

    Raises:
        ValueError: not one agent at one place, a receptacle not at one place, or a goal of no ALFWorld task type.
    """
    return _HouseReader(problem, appliances).house()


class _HouseReader:
    def __init__(self, problem: Problem, appliances: Mapping[str, frozenset[str]]) -> None:
        self.problem = problem
        self.appliances = appliances
        self.names = _human_names(chain.from_iterable(chain.from_iterable(problem.facts.values())))
        numbers = _number(problem)
        self.agents, self.receptacles = numbers["agent"], numbers["receptacle"]
        self.things, self.places = numbers["thing"], numbers["place"]
        self.thing_types = problem.related("objecttype")

    def house(self) -> House:
        agent = _only(self.agents, "an agent at a place")
        receptacles = self._read_receptacles()
        return House(
            agent=self.names[agent].strip(),
            receptacles=receptacles,
            things=self._read_things(),
            places=self._read_places(receptacles),
            receptacle_numbers={self.names[receptacle]: number for receptacle, number in self.receptacles.items()},
            thing_numbers={self.names[thing]: number for thing, number in self.things.items()},
            switches=self._having("toggleable"),
            goal=read_goal(self.problem, self.things, self.receptacles),
            start=self._read_start(agent),
        )

    def _read_receptacles(self) -> tuple[Receptacle, ...]:
        openable = self.problem.having("openable")
        types = self.problem.related("receptacletype")
        places = self.problem.related("receptacleatlocation")
        accepts = self._accepted()
        return tuple(
            Receptacle(
                name=self.names[receptacle],
                place=self.places[_only(places[receptacle], f"a place of {receptacle}")],
                openable=receptacle in openable,
                accepts=frozenset().union(*(accepts[kind] for kind in types[receptacle])),
                treats=frozenset().union(*(self.appliances.get(kind, ()) for kind in types[receptacle])),
            )
            for receptacle in self.receptacles
        )

    def _accepted(self) -> defaultdict[str, set[int]]:
        """Type of receptacle to the things that may be in it."""
        of_type: defaultdict[str, set[int]] = defaultdict(set)
        for thing, types in self.thing_types.items():
            for kind in types:
                of_type[kind].add(self.things[thing])
        accepted: defaultdict[str, set[int]] = defaultdict(set)
        for kind, thing_types in self.problem.related("cancontain").items():
            accepted[kind].update(*(of_type[thing_type] for thing_type in thing_types))
        return accepted

    def _read_things(self) -> tuple[Thing, ...]:
        having = {ability: self.problem.having(ability) for ability in _ABILITIES}
        containers = self.problem.having("isreceptacleobject")
        inside: defaultdict[str, list[str]] = defaultdict(list)
        for inner, outer in sorted(self.problem.facts.get("inreceptacleobject", ())):
            inside[outer].append(self.names[inner])
        return tuple(
            Thing(
                name=self.names[thing],
                abilities=frozenset(ability for ability in _ABILITIES if thing in having[ability]),
                is_knife=not _KNIVES.isdisjoint(self.thing_types[thing]),
                inside=tuple(inside[thing]) if thing in containers else None,
            )
            for thing in self.things
        )

    def _read_places(self, receptacles: Sequence[Receptacle]) -> tuple[Place, ...]:
        at_hand = defaultdict(list)
        for number, receptacle in enumerate(receptacles):
            at_hand[receptacle.place].append(number)
        ways = sorted((f"go to {receptacle.name}", receptacle.place) for receptacle in receptacles)
        return tuple(
            Place(
                name=self.names[place],
                at_hand=tuple(at_hand[number]),
                examine=tuple(sorted(f"examine {receptacles[r].name}" for r in at_hand[number])),
                leave=tuple(command for command, destination in ways if destination != number),
            )
            for place, number in self.places.items()
        )

    def _read_start(self, agent: str) -> State:
        place = _only(self.problem.related("atlocation")[agent], f"a place of {agent}")
        return State(
            place=self.places[place],
            held=None,
            contents=self._things_by("inreceptacle", self.receptacles),
            located=self._things_by("objectatlocation", self.places),
            parted=frozenset(),
            opened=frozenset(self.receptacles[receptacle] for receptacle in self.problem.having("opened")),
            **{state: self._having(f"is{state}") for state in ("clean", "hot", "cool", "sliced", "toggled")},
        )

    def _things_by(self, predicate: str, wheres: Mapping[str, int]) -> tuple[tuple[int, ...], ...]:
        found: dict[str, set[int]] = {where: set() for where in wheres}
        for thing, where in self.problem.facts.get(predicate, ()):
            found[where].add(self.things[thing])
        return tuple(tuple(sorted(things)) for things in found.values())

    def _having(self, predicate: str) -> frozenset[int]:
        return frozenset(self.things[thing] for thing in self.problem.having(predicate))


def _number(problem: Problem) -> dict[str, dict[str, int]]:
    """For each kind of entity its ids, sorted and numbered."""
    ids = defaultdict(set)
    for predicate, kinds in _KINDS.items():
        for arguments in problem.facts.get(predicate, ()):
            if len(arguments) != len(kinds):
                raise ValueError(f"the fact ({' '.join((predicate, *arguments))})")
            for kind, entity in zip(kinds, arguments, strict=True):
                ids[kind].add(entity)
    return defaultdict(dict, {k: {entity: i for i, entity in enumerate(sorted(found))} for k, found in ids.items()})


def _human_names(ids: Iterable[str]) -> dict[str, str]:
    """Ids to names as alfworld's demangler gives them: within a kind, the last id in the alphabet is number 1.

    Only ids with a position ("mug_bar_...") are numbered; the others have a trailing space in the number's place.
    """
    names: dict[str, str] = {}
    counts: dict[str, int] = defaultdict(int)
    for entity in sorted(set(ids), reverse=True):
        kind, has_position, _ = entity.partition("_bar_")
        if has_position:
            kind += "basin" if "basin" in entity else ""
            counts[kind] += 1
        names[entity] = f"{kind} {counts[kind] if has_position else ''}"
    return names


def _only(ids: Collection[str], what: str) -> str:
    if len(ids) != 1:
        raise ValueError(f"{len(ids)} times {what}")
    return next(iter(ids))
