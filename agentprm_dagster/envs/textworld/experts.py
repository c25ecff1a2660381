"""Demonstrators: what TextWorld's own policy does next, said by one who knows the house or by one who has to search it.

TextWorld keeps a plan of every quest and mends it after every command, whoever gave it, so that a demonstrator recovers
from what goes wrong. It knows where everything is, and what a recipe says without reading it; a learner does not, and
cannot learn from what it cannot see. Both demonstrators therefore read the cookbook before they touch anything, and the
one that searches goes through rooms it does not know, nearest first, until it has been in the one it needs.
"""

import random
from typing import Any

from textworld.generator.game import GameProgression

from agentprm_dagster.envs.base import ExpertGaveUp
from agentprm_dagster.envs.textworld.engine import Engine, Moment
from agentprm_dagster.envs.textworld.house import DIRECTIONS, Rooms, is_closed, place_of, room_of
from agentprm_dagster.envs.textworld.language import REFUSAL
from agentprm_dagster.episodes.records import Observation

READ = "examine cookbook"


class PolicyExpert:
    """Advises one player of one game, from its start (`envs.base.Expert`)."""

    def __init__(self, engine: Engine, seed: int, *, searches: bool) -> None:
        """
        Args:
            engine: plays the game.
            seed: decides in which order a room's exits are tried.
            searches: whether rooms are unknown until the player has been there.
        """
        self._engine, self._searches = engine, searches
        self._moment: Moment = engine.start
        self._progression = GameProgression(engine.game)
        self._rooms = Rooms(engine.start.facts, random.Random(seed).sample(DIRECTIONS, len(DIRECTIONS)))
        self._seen = {self._room}
        self._has_read = False
        self._advised: str | None = None

    def act(self, observation: Observation, played: str | None = None) -> str:
        """The next command.

        `played`: what the player did where it was not what was advised. Untold, it is found out from what it led to.

        Raises:
            ExpertGaveUp: the game is over or cannot be won any more, or what is observed cannot come of any command.
        """
        if self._advised is not None:
            self._follow(observation, played)
        if observation.done:
            raise ExpertGaveUp("the game is over")
        self._advised = self._advice()
        return self._advised

    @property
    def _room(self) -> str:
        room = room_of(self._moment.facts)
        assert room is not None
        return room

    @property
    def _commands(self) -> tuple[str, ...]:
        return self._moment.observation.commands

    def _advice(self) -> str:
        if not self._has_read and READ in self._commands:
            return READ
        book = None if self._has_read else self._book_room()
        action = self._planned()
        goal = book or room_of(action.preconditions)
        if goal is not None and goal != self._room:
            return self._way(goal)
        (command,) = self._engine.commands([action])
        if command not in self._commands:
            raise ExpertGaveUp(f'TextWorld\'s policy says "{command}", which is not admissible here')
        return command

    def _planned(self) -> Any:
        """The next action of the policy that is not on the way to another."""
        for action in self._progression.winning_policy or ():
            if not action.name.startswith(("go/", "open/d")):
                return action
        raise ExpertGaveUp("TextWorld has no policy that wins from here")

    def _way(self, goal: str) -> str:
        """The next command on the way to a room or, where that is not known yet, to the nearest that is not."""
        known = not self._searches or goal in self._seen
        exit_ = self._rooms.way(
            self._room,
            ends=(lambda room: room == goal) if known else (lambda room: room not in self._seen),
            through=lambda room: not self._searches or room in self._seen,
        )
        if exit_ is None:
            raise ExpertGaveUp("no way leads on from here")
        if exit_.door and is_closed(self._moment.facts, exit_.door):
            return f"open {self._engine.game.infos[exit_.door].name}"
        return f"go {exit_.direction}"

    def _book_room(self) -> str | None:
        """The room of a cookbook that the player has to go to."""
        ids = (id_ for id_, info in self._engine.game.infos.items() if info.name == "cookbook")
        room = next((place_of(self._moment.facts, id_) for id_ in ids), None)
        return None if room == self._room else room

    def _follow(self, observation: Observation, played: str | None) -> None:
        """Goes to where the player is now."""
        assert self._advised is not None
        if played in self._commands or (played is None and self._led_to(self._advised, observation)):
            return self._go(played or self._advised)
        if played is not None or observation.text == REFUSAL:
            return None
        for command in self._commands:
            if self._led_to(command, observation):
                return self._go(command)
        raise ExpertGaveUp(f'no command leads to "{observation.text[:100]}" where the player was')

    def _led_to(self, command: str, observation: Observation) -> bool:
        return self._engine.after(self._moment, command).observation == observation

    def _go(self, command: str) -> None:
        before, action = self._moment, self._moment.actions[self._commands.index(command)]
        self._moment = self._engine.after(before, command)
        if self._moment.facts != before.facts:
            self._progression.update(action)
        self._seen.add(self._room)
        self._has_read = self._has_read or command == READ
