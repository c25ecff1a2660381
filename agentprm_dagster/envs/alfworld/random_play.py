"""Random play: what a model built from scratch reads before it sees an expert.

A pretrained model knows the language that games are told in; one built from scratch learns it from random play, which
shows what commands do, and what happens when they cannot be done, and nothing of how to solve a task.

What random play happens upon is seldom what the game's task asks for. In hindsight (as in Andrychowicz et al., 2017) an
episode is told as if the task had been about an object that it took or saw: it shows again and again how the sentences
of a demonstrator go with what lies here, and with what a command did or failed to do.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from agentprm_dagster.envs.alfworld.reasons import Progress, explain, notice
from agentprm_dagster.envs.alfworld.tasks import MARK, parse_task
from agentprm_dagster.envs.base import Task
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Turn

_ENTITY = re.compile(r"\b[a-z]+ \d+\b")
_TAKEN = 0.7
"""How often the task is told to be about an object that was taken, where there is one, and not merely seen."""
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


def play_at_random(
    game: Task, *, episode_id: str, max_steps: int, mistakes: float, seed: int, hindsight: bool = False
) -> Episode:
    """One episode of random commands: any verb, then any of its commands; a share `mistakes` names things at random.

    Things named were mentioned before, and places in the first observation, so that most mistakes read well and can't
    be done. `help` is left out: its answer is longer than an episode. The reasons go with the commands; in `hindsight`
    they go with what lies here, whatever is done.
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
        admissible = action in before.commands
        turns.append(Turn(reason, action, observation.text, write_answer(reason, action), admissible=admissible))
        things += _ENTITY.findall(observation.text)
    won, truncated = observation.won, not observation.done
    episode = Episode(episode_id, game.id, game.kind, first.text, tuple(turns), reward=float(won), truncated=truncated)
    return _noticed(_about_what_was_met(episode, rng)) if hindsight else episode


def _about_what_was_met(episode: Episode, rng: random.Random) -> Episode:
    """The same commands and replies under another task: the game's, about an object that the episode happened upon."""
    task = parse_task(episode.first_observation)
    taken = [turn.action.split()[1] for turn in episode.turns if turn.admissible and turn.action.startswith("take ")]
    lay_here = [Progress(task, episode.turns[: i + 1]).here for i in range(len(episode.turns))]
    seen = [name.split()[0] for names in lay_here for name in sorted(names)]
    met = taken if taken and rng.random() < _TAKEN else seen
    if not met:
        return episode
    opening, _, sentence = episode.first_observation.rpartition(MARK)
    task_sentence = re.sub(rf"\b{task.object}\b", rng.choice(met), sentence, count=1)
    return replace(episode, first_observation=f"{opening}{MARK}{task_sentence}", reward=0.0)


def _noticed(episode: Episode) -> Episode:
    turns = []
    for i, turn in enumerate(episode.turns):
        reason = notice(episode.first_observation, episode.turns[:i])
        turns.append(replace(turn, reason=reason, response=write_answer(reason, turn.action)))
    return replace(episode, turns=tuple(turns))


def _any_command(observation: Observation, rng: random.Random) -> str:
    commands = [command for command in observation.commands if command != "help"]
    verb = rng.choice(sorted({command.split()[0] for command in commands}))
    return rng.choice([command for command in commands if command.split()[0] == verb])


def _mistake(things: Sequence[str], places: Sequence[str], rng: random.Random) -> str:
    return rng.choice(_MISTAKES).format(thing=rng.choice(things), place=rng.choice(places))
