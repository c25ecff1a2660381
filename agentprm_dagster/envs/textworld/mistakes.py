"""Mistakes for a demonstrator to recover from: noise injected into demonstrations, as in DART (Laskey et al., 2017)."""

import random
from collections.abc import Iterator, Sequence

from agentprm_dagster.envs.textworld.reasons import Progress, explain
from agentprm_dagster.episodes.records import Turn

# Not those of `house.py`, which loads textworld.
_DIRECTIONS = ("north", "east", "south", "west")
_PLACES = ("counter", "table", "fridge")


def draw_mistake(first_observation: str, turns: Sequence[Turn], rng: random.Random) -> Iterator[tuple[str, str]]:
    """One mistake (reason, action): to go where no way may lead, or to take what may not be here.

    Where it is admissible, it is no mistake, and the caller does not make it.
    """
    progress = Progress(first_observation, turns)
    thing = next(progress.missing(), "knife")
    take = f"take {thing}" if progress.sought else f"take {thing} from {rng.choice(_PLACES)}"
    action = rng.choice([f"go {rng.choice(_DIRECTIONS)}", take])
    yield explain(first_observation, turns, action), action
