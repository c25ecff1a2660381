"""The part of PDDL that ALFWorld's problems use: ground facts, and a goal made of existentially bound atoms.

Fast Downward reads PDDL in lower case and drops `;` comments, so everything here is in lower case too.
"""

import re
from collections import defaultdict
from dataclasses import dataclass

_COMMENT = re.compile(r";[^\n]*")
_FACT = re.compile(r"\(([a-z]+)((?:\s+[^\s()]+)*)\s*\)")
_GOAL_ATOM = re.compile(r"\(\s*([a-z]+|=)((?:\s+[^\s()]+)*)\s*\)")
_ACTION = re.compile(r"\(:action\s+(\S+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: what is true at the start, and what must become true."""

    facts: dict[str, list[tuple[str, ...]]]
    """Predicate to the arguments of each of its facts."""
    goal: frozenset[tuple[str, ...]]
    """The goal's atoms, quantifiers stripped: ("inreceptacle", "?o", "?r")."""

    def having(self, predicate: str) -> frozenset[str]:
        """The entities that a predicate of one argument holds for."""
        return frozenset(entity for (entity,) in self.facts.get(predicate, ()))

    def related(self, predicate: str) -> defaultdict[str, set[str]]:
        """A predicate of two arguments as a map: first argument to all its second ones; empty where there is none."""
        relation = defaultdict(set)
        for first, second in self.facts.get(predicate, ()):
            relation[first].add(second)
        return relation


def read_problem(text: str) -> Problem:
    """Reads a problem's facts and goal; raises ValueError where one of the two sections is missing."""
    _, init, rest = _plain(text).partition("(:init")
    body, goal, wish = rest.partition("(:goal")
    if not (init and goal):
        raise ValueError(f"a problem without {'(:goal' if init else '(:init'}")
    facts: dict[str, list[tuple[str, ...]]] = {}
    for predicate, arguments in _FACT.findall(body):
        facts.setdefault(predicate, []).append(tuple(arguments.split()))
    return Problem(facts, frozenset((name, *arguments.split()) for name, arguments in _GOAL_ATOM.findall(wish)))


def read_actions(domain: str) -> dict[str, str]:
    """A domain's actions: name to definition."""
    _, *pieces = _ACTION.split(_plain(domain))
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def _plain(text: str) -> str:
    return _COMMENT.sub("", text).lower()
