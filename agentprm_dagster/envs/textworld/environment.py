"""A game in play, as agents meet it."""

from collections.abc import Hashable
from dataclasses import replace
from typing import NamedTuple

from agentprm_dagster.envs.textworld.engine import Engine, Moment
from agentprm_dagster.envs.textworld.language import REFUSAL
from agentprm_dagster.episodes.records import Observation


class Snapshot(NamedTuple):
    """A state of a game and what was last observed there. Immutable."""

    game: str
    moment: Moment
    observation: Observation


class TextWorld:
    """One game in play, a `SnapshotEnvironment` and `StatefulEnvironment`. Cheap to make: the engine is shared."""

    def __init__(self, game: str, engine: Engine) -> None:
        """
        Args:
            game: the game's id.
            engine: plays it.
        """
        self.game, self.engine = game, engine
        self.reset()

    def reset(self) -> Observation:
        """Starts the game anew."""
        self._moment = self.engine.start
        self._observation = self._moment.observation
        return self._observation

    def step(self, command: str) -> Observation:
        """Plays one command, with any spaces; one that is not admissible changes nothing, and is told so.

        All commands that TextWorld admits are admissible, also those that get nowhere ("look", "examine ..."): which of
        them do is for the agent to learn. The reward is the share of the game's score that has been won so far.
        """
        command = " ".join(command.split())
        if self._observation.done:
            return self._observation
        if command in self._moment.observation.commands:
            self._moment = self.engine.after(self._moment, command)
            self._observation = self._moment.observation
        else:
            self._observation = replace(self._moment.observation, text=REFUSAL)
        return self._observation

    def snapshot(self) -> Snapshot:
        """The present state and observation; taking and keeping it costs nothing."""
        return Snapshot(self.game, self._moment, self._observation)

    def restore(self, snapshot: object) -> Observation:
        """Returns to a state of this game; answers what was last observed there.

        Raises:
            TypeError: it is not what `snapshot` answered.
            ValueError: it is of another game.
        """
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"expected what TextWorld.snapshot() answered, got {snapshot!r}")
        if snapshot.game != self.game:
            raise ValueError(f"expected a snapshot of the game {self.game}, got one of {snapshot.game}")
        _, self._moment, self._observation = snapshot
        return self._observation

    def state(self) -> Hashable:
        """What is true in the game's world, and which of its quests are done.

        From equal states the same commands are admissible, now and later, and win as much. Only lists may be told in
        another order: the story lists first what was put down last.
        """
        return self._moment.facts, self._moment.completed
