"""Mistakes about places for a demonstrator to recover from, injected as those about objects are (`mistakes`).

A policy that looks for something in a room with other furniture than it knows goes to places that are not there, or
that it stands at already. Nothing happens, and a small one that has never seen what to do then goes there for ever.
"""

import random
from collections.abc import Iterator, Sequence

from agentprm_dagster.envs.alfworld.generate_tables import FURNITURE
from agentprm_dagster.envs.alfworld.reasons import Progress, explain
from agentprm_dagster.envs.alfworld.tasks import parse_task, places
from agentprm_dagster.episodes.records import Turn

_TYPES = sorted({name.lower() for kinds in FURNITURE.values() for name in kinds})
_INSISTS = 0.5
"""How often another mistake about the same place follows."""
_BESIDE = (1, 1, 1, 2, 3)
"""Numbers of places of a type that a room does not have, as often as rooms have them."""


def draw_mistaken_places(
    first_observation: str, turns: Sequence[Turn], rng: random.Random
) -> Iterator[tuple[str, str]]:
    """Mistakes (reason, action) to make one after the other behind `turns`; none before any place was reached.

    The player goes to where it is, to one place more of a type than there are, or to one of a type that the room does
    not have, and perhaps insists.
    """
    here = Progress(parse_task(first_observation), turns).place
    if here is None:
        return
    listed = [each.split()[0] for each in places(first_observation) or [here]]
    place = rng.choice([here, _one_more(listed, rng), _of_another_type(listed, rng)])
    action = f"go to {place}"
    yield explain(first_observation, turns, action), action
    while rng.random() < _INSISTS:
        action = f"{rng.choice(['go to', 'examine', 'open'])} {place}"
        yield explain(first_observation, turns, action), action


def _one_more(listed: list[str], rng: random.Random) -> str:
    kind = rng.choice(listed)
    return f"{kind} {listed.count(kind) + 1}"


def _of_another_type(listed: list[str], rng: random.Random) -> str:
    others = sorted(set(_TYPES) - set(listed))
    return f"{rng.choice(others)} {rng.choice(_BESIDE)}"
