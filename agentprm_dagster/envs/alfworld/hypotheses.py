"""Hypotheses for steered exploration (section 4 of the paper): where what the task needs may be looked for first.

The paper asks for a strategy in words; a small model reads only words of its own dialogues. So the hypothesis is a
sentence in a demonstrator's words that names one of the room's receptacles.
"""

import random

from agentprm_dagster.envs.alfworld.tasks import MARK, places


def with_hypothesis(first_observation: str, rng: random.Random) -> str:
    """The first observation with a hypothesis before its task; as it is where it lists no receptacles."""
    room, mark, task = first_observation.rpartition(MARK)
    listed = places(first_observation)
    return f"{room.rstrip()} I look at {rng.choice(listed)}.\n\n{mark}{task}" if listed else first_observation
