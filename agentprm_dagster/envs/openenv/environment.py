"""A task of a served environment, as agents meet it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agentprm_dagster.envs.openenv.errors import (
    NotDeterministicError,
    RefusedError,
    ServedEnvironmentError,
)
from agentprm_dagster.envs.openenv.language import first_observation
from agentprm_dagster.envs.openenv.replies import Told, observation
from agentprm_dagster.envs.openenv.session import Session
from agentprm_dagster.envs.openenv.sessions import Sessions, sessions_with
from agentprm_dagster.envs.openenv.settings import Settings
from agentprm_dagster.episodes.records import Observation

_OF_ONE_COMMAND = ("EXECUTION_ERROR", "VALIDATION_ERROR")
"""What OpenEnv says of an action that cannot be done."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """What was seen last, and what the rewards have come to."""

    observation: Observation
    value: float


class ServedEnvironment:
    """One task in play (`envs.base.Environment`). It borrows a session while its episode lasts.

    A session that another took meanwhile is made up for: a new one is told the same reset and commands, and must lead
    to the same observation.
    """

    def __init__(self, settings: Settings, told: Mapping[str, Any]) -> None:
        """
        Args:
            settings: of the environment.
            told: what a reset is told (`Settings.reset`, filled in).
        """
        self._settings, self._told = settings, told
        self._commands: list[str] = []
        self._moment: _Moment | None = None

    def reset(self) -> Observation:
        """Starts the task anew; raises a ServedEnvironmentError where the server does not."""
        with self._sessions.lock:
            self._commands.clear()
            self._moment = self._asked(self._sessions.borrow(self), None, None)
        return self._seen(self._moment)

    def step(self, command: str) -> Observation:
        """Plays one command. Once the task is over, the last observation stays.

        Raises:
            ServedEnvironmentError: there was no reset, or the server does not answer as it should.
        """
        before = self._moment
        if before is None:
            raise ServedEnvironmentError(f"expected a reset before the command {command!r}, got none")
        if before.observation.done:
            return before.observation
        with self._sessions.lock:
            session = self._sessions.held(self) or self._caught_up(before)
            try:
                self._moment = self._asked(session, command, before)
            except RefusedError as error:
                return self._refused(before, error)
            self._commands.append(command)
        return self._seen(self._moment)

    @property
    def _sessions(self) -> Sessions:
        settings = self._settings
        return sessions_with(settings.url, settings.seconds, settings.sessions)

    def _asked(self, session: Session, command: str | None, before: _Moment | None) -> _Moment:
        """What a command leads to behind a moment, or a reset where there is neither."""
        try:
            told = session.reset(self._told) if command is None else session.step(self._action(command))
        except ServedEnvironmentError as error:
            if not isinstance(error, RefusedError) or error.code not in _OF_ONE_COMMAND:
                self._sessions.give_back(self, broken=True)
            raise
        value = self._value(told, before)
        seen = observation(self._settings, told, value)
        if before is None:
            seen = replace(seen, text=first_observation(self._settings, seen.text))
        return _Moment(seen, value)

    def _action(self, command: str) -> dict[str, Any]:
        return {**self._settings.action_rest, self._settings.action_field: command}

    def _value(self, told: Told, before: _Moment | None) -> float:
        value = before.value if before else 0.0
        if told.reward is None:
            return value
        return value + told.reward if self._settings.reward.of == "sum" else told.reward

    def _caught_up(self, last: _Moment) -> Session:
        """A session in which the episode stands where it stood."""
        session = self._sessions.borrow(self)
        now = self._asked(session, None, None)
        for command in self._commands:
            now = self._asked(session, command, now)
        if now != last:
            expected, got = last.observation.text[:80], now.observation.text[:80]
            raise NotDeterministicError(
                f"{self._settings.url} does not replay: {len(self._commands)} commands behind the reset "
                f"{dict(self._told)} expected {expected!r}, got {got!r}; have the reset fix what the environment "
                "draws at random, or set environment.sessions to as many episodes as are open at once"
            )
        return session

    def _seen(self, moment: _Moment) -> Observation:
        if moment.observation.done:
            with self._sessions.lock:
                self._sessions.give_back(self)
        return moment.observation

    def _refused(self, before: _Moment, error: RefusedError) -> Observation:
        if self._settings.refusal is None or error.code not in _OF_ONE_COMMAND:
            raise ServedEnvironmentError(
                f"{error}; if that is how the server answers a command that cannot be done, say in environment.refusal "
                "what the agent is to be told"
            ) from error
        return replace(before.observation, text=self._settings.refusal)
