"""A demonstrator of any environment that tells its admissible commands and can be won by chance."""

import random

from agentprm_dagster.envs.base import ExpertGaveUp, Task
from agentprm_dagster.episodes.records import Observation

TRIALS = 32
STEPS = 50
"""Commands of a trial."""


class Trial:
    """Plays a task at random a number of times, and shows the best play: of the highest rewards the shortest."""

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._random = task, random.Random(seed)
        self._commands: list[str] | None = None
        self._shown = 0

    def act(self, observation: Observation) -> str:
        """The next command; ExpertGaveUp after the last, or where the environment does not tell which there are."""
        if self._commands is None:
            tried = [self._play() for _ in range(TRIALS)]
            _, self._commands = max(tried, key=lambda play: (play[0], -len(play[1])))
        if self._shown == len(self._commands):
            raise ExpertGaveUp(f"of {TRIALS} trials at random of {self._task.id} there is nothing more to show")
        self._shown += 1
        return self._commands[self._shown - 1]

    def _play(self) -> tuple[float, list[str]]:
        """The reward of one trial, and its commands."""
        environment = self._task.environment()
        seen, commands = environment.reset(), list[str]()
        while not seen.done and len(commands) < STEPS and seen.commands:
            commands.append(self._random.choice(seen.commands))
            seen = environment.step(commands[-1])
        return seen.reward, commands
