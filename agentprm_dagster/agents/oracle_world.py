"""The oracle: replies to imagined answers from a copy of the game itself, the upper limit of any world model.

It plays games that show their state to whoever plays them; no fair player is shown it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from agentprm_dagster.agents.worlds import Path
from agentprm_dagster.envs.base import Playable, SnapshotEnvironment
from agentprm_dagster.episodes.records import Observation, TaskType, Turn
from agentprm_dagster.episodes.usage import Usage


@dataclass(frozen=True, slots=True)
class SeenThrough(Observation):
    """An observation that carries the state it was made in."""

    game: Playable
    snapshot: object


class Transparent:
    """A game that shows its state."""

    def __init__(self, game: Playable) -> None:
        self.game = game

    @property
    def id(self) -> str:
        """The game's id."""
        return self.game.id

    @property
    def task_type(self) -> TaskType:
        """What kind of task it sets."""
        return self.game.task_type

    def environment(self) -> SnapshotEnvironment:
        """A fresh environment."""
        return _TransparentEnvironment(self.game)


class _TransparentEnvironment:
    """The game's environment, whose observations carry its state."""

    def __init__(self, game: Playable) -> None:
        self.game, self.inner = game, game.environment()

    def reset(self) -> Observation:
        return self._seen(self.inner.reset())

    def step(self, command: str) -> Observation:
        return self._seen(self.inner.step(command))

    def snapshot(self) -> object:
        return self.inner.snapshot()

    def restore(self, snapshot: object) -> Observation:
        return self._seen(self.inner.restore(snapshot))

    def state(self) -> Hashable:
        return self.inner.state()

    def _seen(self, observation: Observation) -> SeenThrough:
        seen = (observation.text, observation.admissible_commands, observation.won, observation.done)
        return SeenThrough(*seen, self.game, self.inner.snapshot())


class OracleWorld:
    """The game itself, in a copy of its own; plays `Transparent` games alone."""

    def __init__(self) -> None:
        self.usage = Usage()
        self._states: dict[int, tuple[SnapshotEnvironment, object]] = {}

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a copy of the slot's game.

        Raises:
            TypeError: the game does not show its state.
        """
        if not isinstance(observation, SeenThrough):
            raise TypeError(f"the oracle needs games that show their state: wrap them in {Transparent.__name__}")
        self._states[slot] = observation.game.environment(), observation.snapshot

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Goes to where the game is now; TypeError as for `begin`."""
        self.begin(slot, "", (), observation)

    def replies(self, paths: Sequence[Path]) -> list[str]:
        """The game's own replies."""
        return [self._played(path).text for path in paths]

    def over(self, paths: Sequence[Path]) -> list[bool]:
        """Whether the game is won there."""
        return [self._played(path).won for path in paths]

    def _played(self, path: Path) -> Observation:
        with self.usage.environment():
            environment, snapshot = self._states[path.slot]
            seen = environment.restore(snapshot)
            for turn in path.turns:
                seen = environment.step(turn.action)
        return seen
