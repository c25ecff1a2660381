"""The demonstrator's REASON: one sentence, by rule, from what the episode has shown so far and never from more.

It names what the command is for: the thing still looked for and the ways not yet gone, the next line of the recipe,
the way back.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from agentprm_dagster.envs.textworld.told import task
from agentprm_dagster.episodes.records import Turn

_OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
_SOUGHT = re.compile(r"(?:take|retrieve|recover|pick[ -]up|lift) the (.+?) (?:in|from|that's in|off) ", re.IGNORECASE)
_RECIPE = re.compile(r"^Ingredients:\n(?P<ingredients>.*)\nDirections:\n(?P<directions>.*)$", re.DOTALL | re.MULTILINE)
_ROOM = re.compile(r"^-= (.+) =-$", re.MULTILINE)
_EXIT = re.compile(r"\bexit to the (north|east|south|west)")
_TAKEN = re.compile(r"You (?:take|pick up) the (.+?) from the ")
_LEFT = re.compile(r"You (?:drop|put) the (.+?) (?:on|into) the ")
_CUT = re.compile(r"You (chop|slice|dice) the (.+)\.")
_COOKED = re.compile(r"You (fried|roasted|grilled) the (.+)\.")
_VERBS = {"fried": "fry", "roasted": "roast", "grilled": "grill"}


class Progress:
    """What the turns so far show: what is sought, what the recipe says, what is held and done, the way come."""

    def __init__(self, first_observation: str, turns: Sequence[Turn]) -> None:
        match = _SOUGHT.search(task(first_observation))
        self.sought = match[1] if match else None
        """The thing to find; None where a meal is to be cooked."""
        self.has_recipe = False
        self.ingredients: list[str] = []
        self.directions: list[str] = []
        """Lines of the recipe that name an ingredient."""
        self.held: set[str] = set()
        self.done: set[str] = set()
        """The directions that were followed."""
        self.way: list[str] = []
        """The directions gone, without those that were gone back again."""
        self._gone: dict[str, set[str]] = defaultdict(set)
        """By room: the ways that were gone from there or come from."""
        self._enter(first_observation)
        for turn in turns:
            self._read(turn)

    def goes_back(self, direction: str) -> bool:
        """Whether a direction leads back to where one came from."""
        return bool(self.way) and _OPPOSITE.get(direction) == self.way[-1]

    def new_ways(self) -> list[str]:
        """The exits of this room that are seen and were not gone."""
        return [direction for direction in self._exits if direction not in self._gone[self._room]]

    def missing(self) -> Iterator[str]:
        """What is still to be found, the first first."""
        if self.sought is not None:
            yield self.sought
        elif not self.has_recipe:
            yield "cookbook"
        yield from (name for name in self.ingredients if name not in self.held)

    def to_do(self) -> Iterator[str]:
        """The directions left."""
        yield from (direction for direction in self.directions if direction not in self.done)

    def _enter(self, text: str) -> None:
        name = _ROOM.search(text)
        self._room = name[1] if name else ""
        self._exits: list[str] = _EXIT.findall(text)

    def _read(self, turn: Turn) -> None:
        text = turn.observation
        verb, _, rest = turn.action.partition(" ")
        if verb == "go" and text.startswith("-= "):
            if self.goes_back(rest):
                self.way.pop()
            else:
                self.way.append(rest)
            self._gone[self._room].add(rest)
            self._enter(text)
            self._gone[self._room].add(_OPPOSITE[rest])
        elif match := _RECIPE.search(text):
            self.has_recipe = True
            self.ingredients = match["ingredients"].split("\n")
            self.directions = [line for line in match["directions"].split("\n") if " the " in line]
        elif match := _TAKEN.match(text):
            self.held.add(match[1])
        elif match := _LEFT.match(text):
            self.held.discard(match[1])
        elif match := _CUT.match(text):
            self.done.add(f"{match[1]} the {match[2]}")
        elif match := _COOKED.match(text):
            self.done.add(f"{_VERBS[match[1]]} the {match[2]}")


def explain(first_observation: str, turns: Sequence[Turn], action: str) -> str:
    """Why a demonstrator gives `action` after `turns`: one sentence without a line break."""
    progress = Progress(first_observation, turns)
    verb, _, rest = action.partition(" ")
    if verb in ("go", "open"):
        return _walk(progress, rest)
    if verb == "take":
        thing = rest.partition(" from ")[0]
        return f"Here is the {thing}." if thing in (*progress.missing(), "knife") else f"I try the {thing}."
    return _kitchen_work(progress, verb, rest)


def _walk(progress: Progress, rest: str) -> str:
    """Why one goes somewhere or opens something."""
    missing = next(progress.missing(), None)
    if missing is None:
        direction = next(progress.to_do(), None)
        return f"I must {direction}." if direction else "All is done."
    if progress.goes_back(rest):
        return f"The {missing} is not here."
    new = " or ".join(progress.new_ways())
    return f"I look for the {missing}, and have not been {new}." if new else f"I look for the {missing}."


def _kitchen_work(progress: Progress, verb: str, rest: str) -> str:
    if verb in ("cook", "chop", "slice", "dice"):
        thing = rest.partition(" with ")[0]
        fitting = (line for line in progress.to_do() if line.endswith(f" the {thing}"))
        cuts = verb != "cook"
        line = next((line for line in fitting if (line.partition(" ")[0] in ("chop", "slice", "dice")) == cuts), None)
        return f"I must {line}." if line else f"I try to {verb} the {thing}."
    if verb in ("prepare", "eat"):
        return "The meal is ready." if verb == "eat" else "All is done."
    if verb == "examine" and rest == "cookbook":
        return "I must know the recipe."
    if verb in ("drop", "put", "insert"):
        return f"I do not need the {re.split(' (?:on|into) ', rest)[0]}."
    return "I look around."
