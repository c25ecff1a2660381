"""What the environment replies to candidate answers, each played from a snapshot of its state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.envs.base import Playable, SnapshotEnvironment
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Observation
from agentprm_dagster.rollouts.replay import Replay
from agentprm_dagster.training.candidates import Candidate, Trunk


@dataclass(frozen=True, slots=True)
class Replied:
    """Candidates with the reply to each behind them."""

    candidates: list[Candidate]
    won: list[bool]
    """Whether the answer won the game: its value is 1, whatever a model says."""


class Consequences:
    """Plays candidate answers in the games that the trunks' episodes come from."""

    def __init__(self, chat: Chat, games: Mapping[str, Playable]) -> None:
        self.chat, self.games = chat, games

    def of(self, trunks: Sequence[Trunk], candidates: Sequence[Candidate]) -> Replied:
        """The reply to every candidate.

        Raises:
            KeyError: an episode's game is not among the games.
            RuntimeError: an episode does not replay in its game.
        """
        replied, won = [], []
        states = {(i, j): state for i, trunk in enumerate(trunks) for j, state in enumerate(self._states(trunk))}
        for candidate in candidates:
            environment, snapshot = states[candidate.state]
            environment.restore(snapshot)
            reply = environment.step(self._action(candidate))
            replied.append(self._with(candidate, reply))
            won.append(reply.won)
        return Replied(replied, won)

    def _states(self, trunk: Trunk) -> list[tuple[SnapshotEnvironment, object]]:
        """Snapshots of a trunk's states, and an environment that returns to them."""
        replay = Replay(self.games[trunk.episode.game], trunk.episode.turns[: trunk.turns[-1]])
        environment = replay.game.environment()
        return [(environment, replay.snapshots[turn]) for turn in trunk.turns]

    def _action(self, candidate: Candidate) -> str:
        return parse_answer(self.chat.decode(candidate.ids[:-1])).action

    def _with(self, candidate: Candidate, reply: Observation) -> Candidate:
        return Candidate(candidate.state, (*candidate.ids, *self.chat.follow_up(reply.text)), candidate.draws)
