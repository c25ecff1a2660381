"""The order in which a demonstrator looks for something: the likeliest places first, as its demonstrations tell.

alfworld's handcoded expert looks into one place after the other as their names come. How often it has found such an
object at such a place says where it had better look first. All of it is learnt from the demonstrations.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from agentprm_dagster.envs.alfworld.plan import with_held
from agentprm_dagster.envs.alfworld.reasons import Progress
from agentprm_dagster.envs.alfworld.tasks import Task, parse_task, places
from agentprm_dagster.episodes.records import Episode, Turn

_ARRIVED = re.compile(r"You arrive at (\w+) \d+")
_PRIOR = 5
"""What is known of any object at a type of place counts for one of a certain type as much as so many places."""
_LEAST = 0.01
"""As much as was found at a type of place where nothing was."""


class SearchOrder:
    """How often objects were found at places, by the types of both."""

    def __init__(self, won: Iterable[Episode]) -> None:
        """Counts what the won episodes of an expert found, and the places that their rooms have."""
        self._found: Counter[tuple[str, ...]] = Counter()
        """By type of object and of place, and by type of place."""
        self._places: Counter[tuple[str, ...]] = Counter()
        self._arrivals: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()
        for episode in won:
            self._count(episode)

    def next_commands(self, first_observation: str, turns: Sequence[Turn], plan: Sequence[str]) -> list[str]:
        """What to do next; none where nothing is left to do, or to look into.

        Args:
            plan: `plan.without_search` of a won episode of the same game, with all search left out. It says what is
                done with what is found.
        """
        progress = Progress(parse_task(first_observation), turns)
        wanted = _looked_for(progress)
        if wanted is None:
            return with_held(progress, plan)
        if here := _of_type(progress.here - progress.placed, wanted):
            return [f"use {here[0]}" if progress.held else f"take {here[0]} from {progress.lies[here[0]]}"]
        if progress.closed:
            return [f"open {min(progress.closed)}"]
        known = (progress.lies[each] for each in _of_type(progress.lies.keys() - progress.placed, wanted))
        unknown = (each for each in self.order(first_observation, wanted) if each not in progress.seen)
        return [f"go to {place}" for place in chain(known, unknown)][:1]

    def order(self, first_observation: str, wanted: str) -> list[str]:
        """The room's places, those first where a command most likely finds an object of the type wanted."""
        emptied = _emptied(parse_task(first_observation))

        def rank(place: str) -> tuple[bool, float, str, int]:
            kind, number = place.split()
            return kind == emptied, -self._worth(wanted, kind), kind, int(number)

        return sorted(places(first_observation), key=rank)

    def _worth(self, wanted: str, place: str) -> float:
        """How likely it is to be found at one such place, for each command that looks there."""
        anything = (self._found[place,] + _LEAST) / max(self._places[place,], 1)
        rate = (self._found[wanted, place] + _PRIOR * anything) / (self._places[wanted, place] + _PRIOR)
        return rate / (1 + self._closed[place] / max(self._arrivals[place], 1))

    def _count(self, episode: Episode) -> None:
        task = parse_task(episode.first_observation)
        for wanted in _looked_for_in(task):
            for kind in (place.split()[0] for place in places(episode.first_observation)):
                if kind != _emptied(task):
                    self._places.update([(wanted, kind), (kind,)])
        where = ""
        for turn in episode.turns:
            if arrived := _ARRIVED.match(turn.observation):
                where = arrived[1]
                self._arrivals[where] += 1
                self._closed[where] += "is closed." in turn.observation
            elif found := _found_by(turn, task):
                # Of what shares a spot with the place arrived at, a command to take says the place.
                kind = turn.action.split()[-2] if " from " in turn.action else where
                if kind != _emptied(task):
                    self._found.update([(found, kind), (kind,)])


def _emptied(task: Task) -> str | None:
    """The type of place where nothing is found: what is there already need not be placed."""
    return task.receptacle if task.task_type in ("pick_and_place_simple", "pick_two_obj_and_place") else None


def _looked_for_in(task: Task) -> list[str]:
    return [task.object, task.receptacle] if task.task_type == "look_at_obj_in_light" else [task.object]


def _looked_for(progress: Progress) -> str | None:
    """The type of what is looked for now; None where it is in hand, or something else is."""
    if progress.held is None:
        return progress.task.object
    looks = progress.holds_target and progress.task.task_type == "look_at_obj_in_light"
    return progress.task.receptacle if looks else None


def _found_by(turn: Turn, task: Task) -> str | None:
    """The type of what was looked for that a turn takes, or uses."""
    verb, *words = turn.action.split()
    found = turn.admissible and verb in ("take", "use") and words[0] in _looked_for_in(task)
    return words[0] if found else None


def _of_type(objects: Collection[str], kind: str) -> list[str]:
    return sorted(name for name in objects if name.split()[0] == kind)
