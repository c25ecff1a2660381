"""Demonstrators: alfworld's handcoded expert, which has to search, and the walkthrough, which knows where things are.

An expert (`envs.base.Expert`) advises one player of one game, from its start. It is told every observation, that of the
reset first; where the player did not play what was advised, it is also told the command that was `played`, so that it
can go on advising a learner along the learner's own path.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from agentprm_dagster.envs.alfworld.game_data import TASK_FILE, read_task_file
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.base import ExpertGaveUp
from agentprm_dagster.episodes.records import Observation

_MAX_ADVICE = 200
"""How many commands alfworld's environment lets its expert advise in one game."""


class WalkthroughExpert:
    """Reads out the game file's walkthrough; gives up where the player leaves its path."""

    def __init__(self, game: Game) -> None:
        self._commands = game.walkthrough
        self._advised = 0

    def act(self, observation: Observation, played: str | None = None) -> str:
        """The walkthrough's next command; raises ExpertGaveUp at its end and off its path."""
        if self._advised and played not in (None, self._commands[self._advised - 1]):
            raise ExpertGaveUp(f'the walkthrough says "{self._commands[self._advised - 1]}", "{played}" was played')
        if self._advised == len(self._commands):
            raise ExpertGaveUp(f"the walkthrough ended after {self._advised} commands")
        command = self._commands[self._advised]
        if command not in observation.commands:
            raise ExpertGaveUp(f'the walkthrough says "{command}", which is not admissible here')
        self._advised += 1
        return command


class HandcodedExpert:
    """alfworld's own heuristic expert, `HandCodedTWAgent`, as alfworld's environment runs it.

    It searches receptacle by receptacle and knows no more than it has seen, except that it is told which receptacle
    holds an object already put down, and whether the object in hand is hot, cool or clean. Its first advice is always
    "look", and "look" replaces advice that is not admissible. It sometimes guesses at random, from the seed alone.

    `corrected` repairs its memory of what it holds: it waits for "put ..." commands, which alfworld 0.4 renamed to
    "move ...", and so never learns that it has let go of an object.

    Not for use in several threads: while it thinks, Python's global random state is its own.
    """

    def __init__(self, game: Game, seed: int, corrected: bool = False) -> None:
        # textworld takes more than a second to import, and a walkthrough does not need it
        from agentprm_dagster.envs.alfworld.handcoded_agent import STOPS, make_agent

        read_task_file(game.path.with_name(TASK_FILE), for_expert=True)
        self._agent: Any = make_agent(_MAX_ADVICE, corrected)
        self._agent.reset(str(game.path))
        self._stops = STOPS
        self._mirror = Household(game)
        self._random_state = random.Random(seed).getstate()
        self._advised: str | None = None

    def act(self, observation: Observation, played: str | None = None) -> str:
        """The expert's advice; raises ExpertGaveUp after 200 commands, or where alfworld's code runs into an error."""
        if self._advised is None:
            self._agent.observe(observation.text)
            self._advised = "look"
        else:
            command = played or self._advised
            self._mirror.step(command)
            advice = self._ask(observation, command)
            self._advised = advice if advice in observation.commands else "look"
        return self._advised

    def _ask(self, observation: Observation, command: str) -> str:
        state = {
            "feedback": observation.text,
            "admissible_commands": list(observation.commands),
            "facts": [_Fact(*fact) for fact in self._mirror.facts()],
        }
        try:
            with self._own_randomness():
                return str(self._agent.act(state, 0, observation.won, command))
        except self._stops as error:
            raise ExpertGaveUp(f"alfworld's handcoded expert stopped: {type(error).__name__} {error}") from error

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        outside = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(outside)


class _Fact(NamedTuple):
    """What alfworld's expert reads of a textworld `Proposition`."""

    name: str
    names: tuple[str, ...]
