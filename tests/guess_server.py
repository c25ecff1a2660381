"""An environment of somebody else's, made with OpenEnv's package (extra `openenv`): guess a number from 1 to 6.

It takes messages instead of commands, names no admissible ones, answers what it does not understand with an error, and
rewards from -1 to 10. With GUESS_DRAWS it draws the number at random, whatever the seed.
"""

import random
from os import environ
from typing import Any

from openenv.core.env_server import Action, Environment, Observation, State, create_fastapi_app

MOST = 6
GUESSES = 2


class Message(Action):
    message: str


class Hint(Observation):
    hint: dict[str, str]
    over: bool = False


class Guess(Environment[Message, Hint, State]):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed: int | None = None, episode_id: str | None = None, **unknown: Any) -> Hint:
        self._number = 1 + (random.randrange(MOST) if environ.get("GUESS_DRAWS") else (seed or 0) % MOST)
        self._left = GUESSES
        half = "low" if 2 * self._number <= MOST else "high"
        return Hint(hint={"text": f"I think of a number from 1 to {MOST}. It is {half}."})

    def step(self, action: Message, timeout_s: float | None = None, **unknown: Any) -> Hint:
        word, _, digits = action.message.partition(" ")
        if word != "guess" or not digits.isdigit():
            raise ValueError(f"expected a guess such as 'guess 1', got {action.message!r}")
        self._left -= 1
        if int(digits) == self._number:
            return Hint(hint={"text": "That is it."}, reward=10, done=True)
        how = "higher" if int(digits) < self._number else "lower"
        return Hint(hint={"text": f"It is {how}."}, reward=-1, done=not self._left, over=not self._left)

    @property
    def state(self) -> State:
        return State(step_count=GUESSES - self._left)


app = create_fastapi_app(Guess, Message, Hint, max_concurrent_envs=16)
