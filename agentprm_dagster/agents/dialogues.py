"""Dialogues with an environment as the conversations of an engine: growing ones, or restated prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentprm_dagster.engine.base import Engine
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Observation, Turn


@dataclass(slots=True)
class Dialogue:
    """What was said so far in one of them."""

    first_observation: str
    turns: list[Turn]


class Dialogues:
    """The dialogues of all slots, in one format; a slot's number is that of its conversation."""

    def __init__(self, engine: Engine, chat: Chat, dialogue: Format) -> None:
        self.engine, self.chat, self.format = engine, chat, dialogue
        self.by_slot: dict[int, Dialogue] = {}

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a dialogue at the state after `turns`."""
        self.by_slot[slot] = Dialogue(first_observation, list(turns))
        self.engine.begin(slot, self.chat.state(first_observation, turns, self.format, observation.commands))

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Adds a turn, whose answer the engine has already been told."""
        here = self.by_slot[slot]
        here.turns.append(turn)
        if self.format == "restated":
            self.begin(slot, here.first_observation, here.turns, observation)
        else:
            self.engine.extend(slot, self.chat.follow_up(turn.observation))
