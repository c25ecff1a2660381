"""Dialogues with an environment as the conversations of an engine: growing ones, or restated prompts."""

from agentprm_dagster.engine.base import Engine
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Observation, State, Turn


class Dialogues:
    """The dialogues of all slots, in one format; a slot's number is that of its conversation."""

    def __init__(self, engine: Engine, chat: Chat, dialogue: Format) -> None:
        self.engine, self.chat, self.format = engine, chat, dialogue
        self.states: dict[int, State] = {}

    def begin(self, slot: int, state: State) -> None:
        """Opens a dialogue at a state."""
        self.states[slot] = state
        asked = self.chat.state(state.first_observation, state.turns, self.format, state.observation.commands)
        self.engine.begin(slot, asked)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Adds a turn, whose answer the engine has already been told."""
        self.states[slot] = state = self.states[slot].after(turn, observation)
        if self.format == "restated":
            self.begin(slot, state)
        else:
            self.engine.extend(slot, self.chat.follow_up(turn.observation))
