"""An episode played again in its environment, once, so that any state along it can be opened."""

from collections.abc import Hashable, Sequence
from hashlib import blake2b

from agentprm_dagster.envs.base import Environment, SnapshotEnvironment, StatefulEnvironment, Task
from agentprm_dagster.episodes.records import Observation, Turn


class Replay:
    """The states before, between and behind some turns of a task.

    An environment without snapshots is brought to a state by playing the commands that led there once more.
    """

    def __init__(
        self, game: Task, turns: Sequence[Turn] = (), *, parent: "Replay | None" = None, shared: int = 0
    ) -> None:
        """Plays the turns from the task's start; the first `shared` were played by a parent and are not again.

        Raises:
            RuntimeError: the environment replies otherwise than the turns say.
        """
        self.game = game
        self._commands = [turn.action for turn in turns]
        self._snapshots: list[object] = parent._snapshots[: shared + 1] if parent else []
        self.states: list[Hashable] = parent.states[: shared + 1] if parent else []
        """The states themselves, that at i before turn i; where the environment does not tell them, what led there."""
        if parent:
            environment, observation = parent.open(shared)
        else:
            environment = game.environment()
            observation = environment.reset()
        self.first_observation: str = parent.first_observation if parent else observation.text
        keeps, tells = isinstance(environment, SnapshotEnvironment), isinstance(environment, StatefulEnvironment)
        if not parent:
            self._note(environment, observation, keeps, tells)
        for turn in turns[shared:]:
            observation = environment.step(turn.action)
            if observation.text != turn.observation:
                raise RuntimeError(
                    f"game {game.id} does not replay: after {turn.action!r} expected {turn.observation!r}, got "
                    f"{observation.text!r}; the game file or the engine has changed since the episode was recorded"
                )
            self._note(environment, observation, keeps, tells)

    def _note(self, environment: Environment, observation: Observation, keeps: bool, tells: bool) -> None:
        if keeps:
            self._snapshots.append(environment.snapshot())  # type: ignore[attr-defined]
        self.states.append(environment.state() if tells else self._history(observation))  # type: ignore[attr-defined]

    def _history(self, observation: Observation) -> str:
        """A digest of the commands and replies so far."""
        before = self.states[-1] if self.states else ""
        command = self._commands[len(self.states) - 1] if self.states else ""
        return blake2b(f"{before}\0{command}\0{observation.text}".encode(), digest_size=16).hexdigest()

    def open(self, turn: int) -> tuple[Environment, Observation]:
        """An environment of its own at the state before a turn, and what was last observed there."""
        environment = self.game.environment()
        if isinstance(environment, SnapshotEnvironment):
            return environment, environment.restore(self._snapshots[turn])
        observation = environment.reset()
        for command in self._commands[:turn]:
            observation = environment.step(command)
        return environment, observation
