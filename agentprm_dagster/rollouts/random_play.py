"""Random-policy data: what a model built from scratch reads before it sees an expert.

A pretrained model knows the language that games are told in; one built from scratch learns it from random play, which
shows what commands do, and what happens when they cannot be done, and nothing of how to solve a task.
"""

import random
from collections.abc import Sequence

from agentprm_dagster.envs.base import EnvironmentKind, Task, explain_in
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Turn


def play_at_random(
    kind: EnvironmentKind,
    game: Task,
    *,
    episode_id: str,
    max_steps: int,
    mistakes: float,
    seed: int,
    hindsight: bool = False,
) -> Episode:
    """One episode of random admissible commands; a share `mistakes` were admissible earlier in it and are not now.

    Raises:
        ValueError: `hindsight` is asked for, which an environment has to know of itself (`DrawsRandomEpisodes`); or
            the environment does not say which commands are admissible.
    """
    if hindsight:
        raise ValueError(f"pretraining.hindsight: {kind.name} tells no episode under another task: set it to false")
    rng, explain = random.Random(seed), explain_in(kind)
    environment = game.environment()
    observation = first = environment.reset()
    seen: set[str] = set()
    turns: list[Turn] = []
    while not observation.done and len(turns) < max_steps:
        if not observation.commands:
            raise ValueError(f"pretraining needs admissible commands, and {kind.name} names none: set episodes to 0")
        seen.update(observation.commands)
        action = _command(observation, sorted(seen - set(observation.commands)), mistakes, rng)
        reason = explain(first.text, turns, action)
        before, observation = observation, environment.step(action)
        turns.append(
            Turn(reason, action, observation.text, write_answer(reason, action), admissible=before.admits(action))
        )
    truncated = not observation.done or observation.truncated
    return Episode(
        episode_id, game.id, game.kind, first.text, tuple(turns), reward=observation.reward, truncated=truncated
    )


def _command(observation: Observation, past: Sequence[str], mistakes: float, rng: random.Random) -> str:
    """Any verb, then any of its commands: else one verb with many objects would be all that is played."""
    if past and rng.random() < mistakes:
        return rng.choice(past)
    verb = rng.choice(sorted({command.split()[0] for command in observation.commands}))
    return rng.choice([command for command in observation.commands if command.split()[0] == verb])
