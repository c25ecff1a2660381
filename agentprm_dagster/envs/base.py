"""What an environment is to everything that plays it, and what a demonstrator is."""

from collections.abc import Hashable
from typing import Protocol

from agentprm_dagster.episodes.records import Observation, TaskType


class Environment(Protocol):
    """One game that can be played again and again."""

    def reset(self) -> Observation:
        """Starts the game anew."""

    def step(self, command: str) -> Observation:
        """Plays one command; a command that is not admissible answers "Nothing happens."."""


class SnapshotEnvironment(Environment, Protocol):
    """An environment that can return to any state that it, or another of the same game, has been in."""

    def snapshot(self) -> object:
        """The present state, immutable and cheap."""

    def restore(self, snapshot: object) -> Observation:
        """Returns to a state; answers what was last observed there."""

    def state(self) -> Hashable:
        """All that decides how the game can go on; equal states play on alike, whatever was said last."""


class Playable(Protocol):
    """A game that can be opened for play."""

    @property
    def id(self) -> str:
        """The game's id."""

    @property
    def task_type(self) -> TaskType:
        """What kind of task it sets."""

    def environment(self) -> SnapshotEnvironment:
        """A fresh environment; the game's file is read once and shared."""


class ExpertGaveUp(RuntimeError):
    """A demonstrator has no advice left for its game."""


class Expert(Protocol):
    """A demonstrator of one game."""

    def act(self, observation: Observation) -> str:
        """The next command after `observation`; ExpertGaveUp when there is none."""


class Demonstrable(Playable, Protocol):
    """A game that an expert can play."""

    def expert(self, kind: str, seed: int) -> Expert:
        """A new expert for a new episode."""
