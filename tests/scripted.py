"""Agents that need no model: they decide by rule."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Observation, Response, State, Turn
from agentprm_dagster.episodes.usage import Usage

Decide = Callable[[str, Sequence[Turn], Observation], str]
"""From a conversation so far to an answer."""


@dataclass
class Scripted:
    """An agent that decides by rule from its own conversation; it notes how many slots it answers in."""

    decide: Decide
    slots: int = 4
    usage: Usage = field(default_factory=Usage)
    busy: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    conversations: dict[int, tuple[str, list[Turn], Observation]] = field(default_factory=dict)

    def begin(self, slot: int, state: State) -> None:
        self.conversations[slot] = state.first_observation, list(state.turns), state.observation

    def act(self, slots: Sequence[int]) -> list[Response]:
        self.busy.append(len(slots))
        return [Response(self.decide(*self.conversations[slot])) for slot in slots]

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        first, turns, _ = self.conversations[slot]
        self.conversations[slot] = first, [*turns, turn], observation

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        """Its own answer, again in other words, and then the commands that are there."""
        self.asked.append(candidates)
        return [[*map(Response, self._proposals(*self.conversations[slot])[:candidates])] for slot in slots]

    def _proposals(self, first: str, turns: list[Turn], observation: Observation) -> list[str]:
        own = self.decide(first, turns, observation)
        again = own.replace("REASON:", "REASON: Once more:")
        return [own, again, *(write_answer("Why not?", command) for command in observation.admissible_commands)]


def knowing(games: Iterable[PlayableGame]) -> Decide:
    """Follows every game's walkthrough; off its path it looks around."""
    ways = {game.environment().reset().text: Game.load(game.ref.path).walkthrough for game in games}

    def decide(first: str, turns: Sequence[Turn], observation: Observation) -> str:
        done = tuple(turn.action for turn in turns)
        way = ways[first]
        on_path = done == way[: len(done)]
        return write_answer("So it goes.", way[len(done)] if on_path else "look")

    return decide


def random_play(first: str, turns: Sequence[Turn], observation: Observation) -> str:
    """Any command, always the same in the same conversation."""
    told = repr((first, [(turn.action, turn.observation) for turn in turns])).encode()
    number = int.from_bytes(hashlib.sha256(told).digest()[:4], "big")
    return write_answer("Why not?", observation.admissible_commands[number % len(observation.admissible_commands)])


def nonsense(first: str, turns: Sequence[Turn], observation: Observation) -> str:
    return "Let me think about it."
