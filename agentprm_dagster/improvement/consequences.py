"""What the environment replies to candidate answers, each played from its state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.envs.base import Task
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Observation
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.rollouts.replay import Replay
from agentprm_dagster.training.candidates import Candidate


@dataclass(frozen=True, slots=True)
class Replied:
    """Candidates with the reply to each behind them."""

    candidates: list[Candidate]
    outcomes: list[float | None]
    """The reward where the answer ended the task: its value, whatever a model says. None where it goes on."""


class Consequences:
    """Plays candidate answers in the games that the prefixes' episodes come from."""

    def __init__(self, chat: Chat, games: Mapping[str, Task]) -> None:
        self.chat, self.games = chat, games

    def of(self, prefixes: Sequence[EpisodeTokens], candidates: Sequence[Candidate]) -> Replied:
        """The reply to every candidate.

        Raises:
            KeyError: an episode's game is not among the games.
            RuntimeError: an episode does not replay in its game.
        """
        replied, outcomes = [], []
        states = {(i, j): state for i, prefix in enumerate(prefixes) for j, state in enumerate(self._states(prefix))}
        for candidate in candidates:
            replay, turn = states[candidate.state]
            environment, _ = replay.open(turn)
            reply = environment.step(self._action(candidate))
            replied.append(self._with(candidate, reply))
            outcomes.append(reply.reward if reply.done else None)
        return Replied(replied, outcomes)

    def _states(self, prefix: EpisodeTokens) -> list[tuple[Replay, int]]:
        """A prefix's states: turns of its episode, played again."""
        replay = Replay(self.games[prefix.episode.game], prefix.episode.turns[: prefix.turns[-1]])
        return [(replay, turn) for turn in prefix.turns]

    def _action(self, candidate: Candidate) -> str:
        return parse_answer(self.chat.decode(candidate.ids[:-1])).action

    def _with(self, candidate: Candidate, reply: Observation) -> Candidate:
        return Candidate(candidate.state, (*candidate.ids, *self.chat.follow_up(reply.text)), candidate.draws)
