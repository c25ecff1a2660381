"""Random play: what a model built from scratch reads before it sees an expert.

A pretrained model knows the language that games are told in; one built from scratch learns it from wandering, which
shows what commands do, and what happens when they cannot be done, and nothing of how to solve a task.
"""

import random
import re
from collections.abc import Sequence

from agentprm_dagster.core.dialogue import write_answer
from agentprm_dagster.core.reasons import explain
from agentprm_dagster.core.rollout import Playable
from agentprm_dagster.core.types import Episode, Observation, Turn

_ENTITY = re.compile(r"\b[a-z]+ \d+\b")
_MISTAKES = (
    "go to {place}",
    "take {thing} from {place}",
    "move {thing} to {place}",
    "use {thing}",
    "open {place}",
    "close {place}",
    "heat {thing} with {place}",
    "cool {thing} with {place}",
    "clean {thing} with {place}",
)


def wander(game: Playable, *, episode_id: str, max_steps: int, mistakes: float, seed: int) -> Episode:
    """One episode of random commands: any verb, then any of its commands; a share `mistakes` names things at random.

    Things named were mentioned before, and places in the first observation, so that most mistakes read well and can't
    be done. `help` is left out: its answer is longer than an episode.
    """
    rng = random.Random(seed)
    environment = game.environment()
    observation = first = environment.reset()
    places = _ENTITY.findall(first.text)
    things = list(places)
    turns: list[Turn] = []
    while not observation.done and len(turns) < max_steps:
        action = _mistake(things, places, rng) if rng.random() < mistakes else _any_command(observation, rng)
        reason = explain(first.text, turns, action)
        before, observation = observation, environment.step(action)
        admissible = action in before.admissible_commands
        turns.append(Turn(reason, action, observation.text, write_answer(reason, action), admissible=admissible))
        things += _ENTITY.findall(observation.text)
    return Episode(episode_id, game.id, game.task_type, first.text, tuple(turns), won=observation.won)


def _any_command(observation: Observation, rng: random.Random) -> str:
    commands = [command for command in observation.admissible_commands if command != "help"]
    verb = rng.choice(sorted({command.split()[0] for command in commands}))
    return rng.choice([command for command in commands if command.split()[0] == verb])


def _mistake(things: Sequence[str], places: Sequence[str], rng: random.Random) -> str:
    return rng.choice(_MISTAKES).format(thing=rng.choice(things), place=rng.choice(places))
