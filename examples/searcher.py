"""A rule-based agent for ALFWorld's games, as a user of `agentprm score` would write one.

    agentprm score examples/searcher.py:Searcher --split train_held_out

It knows the game's words and no file of it: it reads the observation and the commands that are admissible, looks into
one receptacle after the other, the likely ones first, takes what the task asks for, cleans, heats or cools it and puts
it where it belongs.
"""

import re
from collections.abc import Iterator, Sequence

TASKS = (
    ("look", r"(?:look at|examine) (?:the )?(?P<object>\w+) (?:under|with) the (?P<target>\w+)"),
    ("clean", r"put a clean (?P<object>\w+) in (?P<target>\w+)"),
    ("clean", r"clean some (?P<object>\w+) and put it in (?P<target>\w+)"),
    ("heat", r"put a hot (?P<object>\w+) in (?P<target>\w+)"),
    ("heat", r"heat some (?P<object>\w+) and put it in (?P<target>\w+)"),
    ("cool", r"put a cool (?P<object>\w+) in (?P<target>\w+)"),
    ("cool", r"cool some (?P<object>\w+) and put it in (?P<target>\w+)"),
    ("two", r"(?:put|find) two (?P<object>\w+) (?:in|and put them in) (?P<target>\w+)"),
    ("pick", r"put (?:a|some) (?P<object>\w+) (?:in|on) (?P<target>\w+)"),
)
"""What is to be done, and the words that ask for it."""

TREATED_AT = {"clean": ("sinkbasin",), "heat": ("microwave",), "cool": ("fridge",)}

FOOD = ("apple", "bread", "egg", "lettuce", "potato", "tomato")
OFTEN_AT = {
    **dict.fromkeys(FOOD, ("fridge", "countertop", "sinkbasin", "diningtable", "garbagecan", "microwave")),
    "soapbar": ("toilet", "countertop", "sinkbasin", "bathtubbasin", "garbagecan"),
    "toiletpaper": ("toiletpaperhanger", "toilet", "countertop", "cabinet"),
    "cloth": ("countertop", "sinkbasin", "bathtubbasin", "cabinet", "drawer"),
    "spraybottle": ("toilet", "countertop", "cabinet", "garbagecan"),
    "pillow": ("bed", "sofa", "armchair"),
    "book": ("bed", "desk", "sofa", "shelf", "dresser"),
    "laptop": ("desk", "bed", "sofa", "diningtable"),
    "pan": ("stoveburner", "countertop", "cabinet", "fridge"),
    "pot": ("stoveburner", "countertop", "cabinet", "fridge"),
}
"""Where some things are looked for first."""

SURFACES = (
    *("countertop", "diningtable", "coffeetable", "sidetable", "desk", "dresser", "shelf", "bed", "sofa", "armchair"),
    *("toilet", "sinkbasin", "stoveburner", "tvstand", "ottoman", "garbagecan", "fridge", "microwave", "coffeemachine"),
)
"""Where everything else is looked for first: what shows what is on it comes before what has to be opened."""


def kind(name: str) -> str:
    """The kind of a thing: `mug` of "mug 1"."""
    return name.rpartition(" ")[0]


class Searcher:
    """Searches, takes, treats, places."""

    def reset(self, observation: str, commands: Sequence[str]) -> None:
        """Reads the task and the receptacles."""
        self.task, self.object, self.target = self._read(observation)
        self.unseen = sorted(self._receptacles(commands), key=self._rank)
        self.seen_at: dict[str, list[str]] = {}
        self.here = self.held = ""
        self.treated = False
        self.placed: set[str] = set()
        self.steps = iter(())

    def act(self, observation: str, commands: Sequence[str]) -> str:
        """The next command, which is admissible."""
        self._note(observation)
        for command in self._wanted(commands):
            if command in commands:
                self._follow(command)
                return command
        return "look"

    def _read(self, observation: str) -> tuple[str, str, str]:
        sentence = observation.partition("Your task is to: ")[2].strip().rstrip(".")
        for task, pattern in TASKS:
            if found := re.fullmatch(pattern, sentence):
                return task, found["object"], found["target"]
        raise ValueError(f"expected a task of ALFWorld, got {sentence!r}")

    def _receptacles(self, commands: Sequence[str]) -> list[str]:
        return [command.removeprefix("go to ") for command in commands if command.startswith("go to ")]

    def _rank(self, receptacle: str) -> tuple[int, int, int]:
        often, name = OFTEN_AT.get(self.object, ()), kind(receptacle)
        last = name == self.target and self.task != "look"  # what lies there already needs no placing
        first = often.index(name) if name in often else len(often) + last
        return first, SURFACES.index(name) if name in SURFACES else len(SURFACES), int(receptacle.split()[-1])

    def _note(self, observation: str) -> None:
        """Remembers what lies where, as far as it was said."""
        found = re.search(r"(?:On the|The) ([a-z]+ \d+)(?: is open\. In it)?, you see (.*?)\.(?:\s|$)", observation)
        if found and found[1] == self.here:
            self.seen_at[self.here] = re.findall(r"an? ([a-z]+ \d+)", found[2])
            if self.here in self.unseen:
                self.unseen.remove(self.here)

    def _follow(self, command: str) -> None:
        """Remembers what a command changes."""
        words = command.split(" ")
        if command.startswith("go to "):
            self.here = command.removeprefix("go to ")
        elif words[0] == "take":
            self.held = " ".join(words[1:3])
            self.seen_at[self.here] = [each for each in self.seen_at.get(self.here, []) if each != self.held]
        elif words[0] == "move":
            self.placed.add(self.held)
            self.held, self.treated = "", False
        elif words[0] in TREATED_AT:
            self.treated = True

    def _wanted(self, commands: Sequence[str]) -> Iterator[str]:
        """Commands in the order in which they are wanted; the first that is admissible is given."""
        if not self.held:
            yield from (f"take {thing} from {self.here}" for thing in self._wanted_at(self.here))
            yield f"open {self.here}"
            yield from (f"go to {place}" for place in self.seen_at if self._wanted_at(place))
            yield from (f"go to {place}" for place in self.unseen)
            return
        if self.task == "look":
            yield from (command for command in commands if command.startswith("use "))
            yield from self._to_lamp()
            return
        if self.task in TREATED_AT and not self.treated:
            yield from (command for command in commands if command.startswith(f"{self.task} {self.held} "))
            yield from self._to(*TREATED_AT[self.task])
            return
        if kind(self.here) == self.target:
            yield f"open {self.here}"
            yield f"move {self.held} to {self.here}"
        yield from self._to(self.target)

    def _wanted_at(self, place: str) -> list[str]:
        """The things to take from there: none that was put where it belongs."""
        return [each for each in self.seen_at.get(place, []) if kind(each) == self.object and each not in self.placed]

    def _to(self, *kinds: str) -> Iterator[str]:
        places = sorted({*self.unseen, *self.seen_at}, key=lambda place: int(place.split()[-1]))
        if self.task == "two" and self.placed:  # beside the first of the two
            places.sort(key=lambda place: not self.placed & set(self.seen_at.get(place, [])))
        yield from (f"go to {place}" for place in places if kind(place) in kinds and place != self.here)

    def _to_lamp(self) -> Iterator[str]:
        lamps = [place for place, things in self.seen_at.items() if self.target in map(kind, things)]
        yield from (f"go to {place}" for place in lamps)
        yield f"open {self.here}"
        often = ("sidetable", "desk", "dresser", "shelf", "coffeetable", "diningtable")
        order = sorted(self.unseen, key=lambda place: often.index(kind(place)) if kind(place) in often else len(often))
        yield from (f"go to {place}" for place in order)
