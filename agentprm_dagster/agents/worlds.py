"""What an agent can ask what would happen (section 4.3 of the paper): the game itself, or a model of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Observation, Response, State, Turn
from agentprm_dagster.episodes.usage import Usage


@dataclass(slots=True)
class Path:
    """What is predicted to happen from a conversation's present state on."""

    slot: int
    turns: list[Turn]
    """At least one; the last one's observation is empty until a world has replied."""

    def answer(self, answer: Response) -> None:
        """Goes on by an answer."""
        parsed = parse_answer(answer.text)
        self.turns.append(Turn(parsed.reason, parsed.action, "", answer.text, parsed.parsed, tokens=answer.tokens))

    def reply(self, text: str) -> None:
        """What the last answer leads to."""
        self.turns[-1] = replace(self.turns[-1], observation=text)


class World(Protocol):
    """Replies to predicted answers behind the conversations of several slots."""

    usage: Usage
    """What it has taken so far."""

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation, as `rollouts.rollout.Agent.begin` does."""

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what really happened."""

    def replies(self, paths: Sequence[Path]) -> list[str]:
        """What the environment says to the last answer of each path."""

    def over(self, paths: Sequence[Path]) -> list[bool]:
        """Whether the game is won at the end of each path."""
