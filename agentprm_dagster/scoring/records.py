"""What is kept of every game that was played: enough to play it again and to compute every number anew."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.section import NotNegative, Section

CIRCLING = 8
"""Turns at the end of a lost game, without an observation that was not there before, from which it went in circles."""

MOST_TEXT = 100_000
"""Letters of a command."""

Turns = tuple[NotNegative, ...]
"""Numbers of turns, counted from 0."""


class PlayedGame(Section):
    """One game as it was played."""

    id: str
    won: bool
    commands: tuple[Annotated[str, Field(max_length=MOST_TEXT)], ...]
    """What was sent to the environment; empty where an answer held no command."""
    invalid: Turns = ()
    """Whose command the environment does not accept there."""
    known: Turns = ()
    """Whose observation was, word for word, in the episode before."""
    gave_up: bool = False
    """Whether the agent had no answer any more, before the last action it had."""

    @property
    def unparsed(self) -> Turns:
        """The turns whose answer held no command in the agreed form."""
        return tuple(turn for turn, command in enumerate(self.commands) if not command)

    def won_within(self, cap: int) -> bool:
        """Whether so many actions were enough."""
        return self.won and len(self.commands) <= cap

    def circled_within(self, cap: int) -> bool:
        """Whether it was lost, with nothing new in the last `CIRCLING` or more of so many actions."""
        turns = min(len(self.commands), cap)
        last_new = max(set(range(turns)) - set(self.known), default=-1)
        return not self.won_within(cap) and turns - 1 - last_new >= CIRCLING


def played_game(episode: Episode, cap: int) -> PlayedGame:
    """What is kept of an episode that could take `cap` actions."""
    turns = episode.turns
    observations = [episode.first_observation, *(turn.observation for turn in turns)]
    return PlayedGame(
        id=episode.game,
        won=episode.won,
        commands=tuple(turn.action[:MOST_TEXT] for turn in turns),
        invalid=tuple(t for t, turn in enumerate(turns) if not turn.admissible),
        known=known_turns(observations),
        gave_up=episode.truncated and len(turns) < cap,
    )


def known_turns(observations: Iterable[str]) -> Turns:
    """The turns whose observation was there before; the first of the observations is the reset's."""
    met: set[str] = set()
    known = []
    for i, text in enumerate(observations):
        if text in met:
            known.append(i - 1)
        met.add(text)
    return tuple(known)


class Run(Section):
    """One agent under one sampling seed, on all games."""

    agent: NotNegative = 0
    """Its position among the card's agents."""
    seed: NotNegative = 0
    games: dict[str, tuple[PlayedGame, ...]]
    """By split, sorted by id."""
    tokens_read: NotNegative = 0
    tokens_drawn: NotNegative = 0
    seconds: Annotated[float, Field(ge=0)] = 0.0
    """Of all processes that played, together; loading models is part of it."""
