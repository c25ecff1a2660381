"""An episode played again on the engine, once, so that any state along it can be opened."""

from collections.abc import Hashable, Sequence

from agentprm_dagster.envs.base import Playable, SnapshotEnvironment
from agentprm_dagster.episodes.records import Observation, Turn


class Replay:
    """The states before, between and behind some turns of a game."""

    def __init__(
        self, game: Playable, turns: Sequence[Turn] = (), *, parent: "Replay | None" = None, shared: int = 0
    ) -> None:
        """Plays the turns from the game's start; the first `shared` were played by a parent and are not again.

        Raises:
            RuntimeError: the engine replies otherwise than the turns say.
        """
        self.game = game
        environment = game.environment()
        self.first_observation: str = parent.first_observation if parent else environment.reset().text
        self.snapshots: list[object] = parent.snapshots[: shared + 1] if parent else [environment.snapshot()]
        """What returns to each state: that at i is the one before turn i."""
        self.states: list[Hashable] = parent.states[: shared + 1] if parent else [environment.state()]
        """The states themselves (`SnapshotEnvironment.state`)."""
        environment.restore(self.snapshots[shared])
        for turn in turns[shared:]:
            observation = environment.step(turn.action)
            if observation.text != turn.observation:
                raise RuntimeError(
                    f"game {game.id} does not replay: after {turn.action!r} expected {turn.observation!r}, got "
                    f"{observation.text!r}; the game file or the engine has changed since the episode was recorded"
                )
            self.snapshots.append(environment.snapshot())
            self.states.append(environment.state())

    def open(self, turn: int) -> tuple[SnapshotEnvironment, Observation]:
        """An environment of its own at the state before a turn, and what was last observed there."""
        environment = self.game.environment()
        return environment, environment.restore(self.snapshots[turn])
