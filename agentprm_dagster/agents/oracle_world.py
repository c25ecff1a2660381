"""The oracle: replies to predicted answers from a copy of the game itself, the upper limit of any world model.

It plays games that show their state to whoever plays them; no fair player is shown it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from agentprm_dagster.agents.worlds import Path
from agentprm_dagster.envs.base import Environment, SnapshotEnvironment, Task
from agentprm_dagster.episodes.records import Observation, State, Turn
from agentprm_dagster.episodes.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenThrough(Observation):
    """An observation that carries the state it was made in."""

    game: Task
    place: object
    """A snapshot; where the environment takes none, the commands that led there."""


class Transparent:
    """A game that shows its state."""

    def __init__(self, game: Task) -> None:
        self.game = game

    @property
    def id(self) -> str:
        """The game's id."""
        return self.game.id

    @property
    def kind(self) -> str:
        """What kind of task it sets."""
        return self.game.kind

    def environment(self) -> Environment:
        """A fresh environment."""
        inner = self.game.environment()
        if isinstance(inner, SnapshotEnvironment):
            return _TransparentSnapshots(self.game, inner)
        return _TransparentHistory(self.game, inner)


class _TransparentHistory:
    """The game's environment, whose observations carry the commands so far."""

    def __init__(self, game: Task, inner: Environment) -> None:
        self.game, self.inner = game, inner
        self._commands: tuple[str, ...] = ()

    def reset(self) -> Observation:
        self._commands = ()
        return _seen(self.inner.reset(), self.game, self._commands)

    def step(self, command: str) -> Observation:
        self._commands = (*self._commands, command)
        return _seen(self.inner.step(command), self.game, self._commands)


class _TransparentSnapshots:
    """The game's environment, whose observations carry snapshots."""

    def __init__(self, game: Task, inner: SnapshotEnvironment) -> None:
        self.game, self.inner = game, inner

    def reset(self) -> Observation:
        return self._seen(self.inner.reset())

    def step(self, command: str) -> Observation:
        return self._seen(self.inner.step(command))

    def snapshot(self) -> object:
        return self.inner.snapshot()

    def restore(self, snapshot: object) -> Observation:
        return self._seen(self.inner.restore(snapshot))

    def _seen(self, observation: Observation) -> SeenThrough:
        return _seen(observation, self.game, self.inner.snapshot())


def _seen(observation: Observation, game: Task, place: object) -> SeenThrough:
    plain = {field.name: getattr(observation, field.name) for field in fields(Observation)}
    return SeenThrough(**plain, game=game, place=place)


class OracleWorld:
    """The game itself, in a copy of its own; plays `Transparent` games alone."""

    def __init__(self) -> None:
        self.usage = Usage()
        self._states: dict[int, tuple[Environment, object]] = {}

    def begin(self, slot: int, state: State) -> None:
        """Opens a copy of the slot's game.

        Raises:
            TypeError: the game does not show its state.
        """
        self._go_to(slot, state.observation)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Goes to where the game is now; TypeError as for `begin`."""
        self._go_to(slot, observation)

    def _go_to(self, slot: int, observation: Observation) -> None:
        if not isinstance(observation, SeenThrough):
            raise TypeError(f"the oracle needs games that show their state: wrap them in {Transparent.__name__}")
        self._states[slot] = observation.game.environment(), observation.place

    def replies(self, paths: Sequence[Path]) -> list[str]:
        """The game's own replies."""
        return [self._played(path).text for path in paths]

    def over(self, paths: Sequence[Path]) -> list[bool]:
        """Whether the game is over there."""
        return [self._played(path).done for path in paths]

    def _played(self, path: Path) -> Observation:
        with self.usage.environment():
            environment, place = self._states[path.slot]
            seen = _at(environment, place)
            for turn in path.turns:
                seen = environment.step(turn.action)
        return seen


def _at(environment: Environment, place: object) -> Observation:
    """Brings an environment to a place (`SeenThrough.place`)."""
    if isinstance(environment, SnapshotEnvironment):
        return environment.restore(place)
    assert isinstance(place, tuple)
    seen = environment.reset()
    for command in place:
        seen = environment.step(command)
    return seen
