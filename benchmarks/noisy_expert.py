"""An agent for rollouts that a PRM can learn from without any training before: alfworld's expert, who often errs.

With a chance of its own in every state it plays any command instead of the expert's; that goes from the conversation
alone, so that the same state is always answered alike.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.reasons import explain
from agentprm_dagster.envs.base import ExpertGaveUp
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Observation, Response, State, Turn
from agentprm_dagster.episodes.usage import Usage

ERRS = 0.2


@dataclass(slots=True)
class _Conversation:
    first: str
    turns: list[Turn]
    observation: Observation
    expert: object
    played: str | None = None


@dataclass
class NoisyExpert:
    """Plays some games (`rollouts.rollout.Agent`)."""

    games: Sequence[PlayableGame]
    slots: int = 64
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        self._games = {game.environment().reset().text: game for game in self.games}
        self._conversations: dict[int, _Conversation] = {}

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation; the expert hears everything that was played."""
        game = self._games[state.first_observation]
        expert, house = game.expert("handcoded_corrected", seed=0), game.environment()
        before, played = house.reset(), None
        for turn in state.turns:
            _advice(expert, before, played)
            before, played = house.step(turn.action), turn.action
        opened = (state.first_observation, list(state.turns), state.observation)
        self._conversations[slot] = _Conversation(*opened, expert, played)

    def act(self, slots: Sequence[int]) -> list[Response]:
        """One answer for each slot."""
        return [self._answer(self._conversations[slot]) for slot in slots]

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what its answer led to."""
        here = self._conversations[slot]
        here.turns.append(turn)
        here.observation, here.played = observation, turn.action

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        """The expert's command, and any others."""
        proposals = []
        for slot in slots:
            here = self._conversations[slot]
            advice = _advice(here.expert, here.observation, here.played)
            others = list(here.observation.admissible_commands)
            random.Random(repr(here.turns)).shuffle(others)
            commands = [advice, *others] if advice else others
            proposals.append([self._said(here, command) for command in commands[:candidates]])
        return proposals

    def _answer(self, here: _Conversation) -> Response:
        advice = _advice(here.expert, here.observation, here.played)
        rng = random.Random(repr((here.first, here.turns)))
        if advice is None or rng.random() < ERRS:
            advice = rng.choice(here.observation.admissible_commands)
        return self._said(here, advice)

    def _said(self, here: _Conversation, command: str) -> Response:
        return Response(write_answer(explain(here.first, here.turns, command), command))


def _advice(expert: object, observation: Observation, played: str | None) -> str | None:
    try:
        return str(expert.act(observation, played))  # type: ignore[attr-defined]
    except ExpertGaveUp:
        return None
