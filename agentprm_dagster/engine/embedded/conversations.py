"""What a slot must read next: the new tokens of a growing conversation, or a restated prompt from its start."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Observation, Turn


@dataclass(slots=True)
class Conversation:
    """One slot's dialogue."""

    first_observation: str
    turns: list[Turn]
    pending: list[int] = field(default_factory=list)
    """Ids that the model has not read yet."""
    fresh: bool = True
    """Whether the pending ids start a conversation anew, so that the slot's cache is void."""


class Conversations:
    """The dialogues of all slots, in one format."""

    def __init__(self, chat: Chat, dialogue: Format) -> None:
        self.chat, self.format = chat, dialogue
        self.by_slot: dict[int, Conversation] = {}

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        """Opens a dialogue at the state after `turns`."""
        here = Conversation(first_observation, list(turns))
        self.by_slot[slot] = here
        if self.format == "restated":
            here.pending = self.chat.prompt(self.chat.wording.prompt(first_observation, turns, observation.commands))
        else:
            here.pending = self.chat.state(first_observation, turns)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Adds a turn; what was answered is in the cache already, or in `pending`."""
        here = self.by_slot[slot]
        here.turns.append(turn)
        if self.format == "restated":
            self.begin(slot, here.first_observation, here.turns, observation)
        else:
            here.pending += self.chat.follow_up(turn.observation)

    def take_pending(self, slot: int) -> tuple[list[int], bool]:
        """The ids to read now, and whether the slot is to be cleared first."""
        here = self.by_slot[slot]
        pending, fresh = here.pending, here.fresh
        here.pending, here.fresh = [], False
        return pending, fresh
