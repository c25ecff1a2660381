"""The household engine: ALFWorld's text games in plain Python, byte for byte as the stock engine plays them.

What the stock engine derives from PDDL with a planner and from a grammar with a parser is written out here as one
method for each command. Its quirks are kept, because a policy trained here must meet the same text there:

- only the thing in the agent's hand can be examined, and a container never shows its state;
- `look` where no receptacle is at hand sees "nothing"; only the first observation lists the room;
- `heat`, `cool`, `clean` and `use` work through a closed door;
- `use` always turns on;
- beside a receptacle lie the things that were taken from it and are still located here.

`tests/envs` and `benchmarks/parity.py` compare the two step by step.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from agentprm_dagster.envs.alfworld import wording
from agentprm_dagster.envs.alfworld.actions import carry_out, look
from agentprm_dagster.envs.alfworld.commands import admissible_commands
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.house import House
from agentprm_dagster.envs.alfworld.state import State
from agentprm_dagster.episodes.records import Observation

Fact = tuple[str, tuple[str, ...]]
"""A predicate and the names of its arguments: ("inreceptacle", ("mug 1", "desk 2"))."""


class Snapshot(NamedTuple):
    """A state and what was last observed there. Immutable and hashable."""

    state: State
    observation: Observation


class Household:
    """One game in play, a `SnapshotEnvironment`. Cheap to make: games are shared between any number of them."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.reset()

    def reset(self) -> Observation:
        """Starts the game anew."""
        self._state, self._observation = _start(self.game)
        return self._observation

    def step(self, command: str) -> Observation:
        """Plays one command, stripped of space around it.

        Once the game is done, the last observation stays, as it does in textworld's batch environment.
        """
        if self._observation.done:
            return self._observation
        command = command.strip()
        if self._observation.admits(command):
            self._observation = self._carry_out(command)
        else:
            self._observation = replace(self._observation, text=wording.NOTHING_HAPPENS)
        return self._observation

    def snapshot(self) -> Snapshot:
        """The present state and observation; taking and keeping it costs nothing."""
        return Snapshot(self._state, self._observation)

    def restore(self, snapshot: object) -> Observation:
        """Returns to a state of this game; answers what was last observed there.

        Raises:
            TypeError: it is not a household's snapshot.
        """
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"expected what Household.snapshot() answered, got {snapshot!r}")
        self._state, self._observation = snapshot
        return self._observation

    def state(self) -> State:
        """Where everything is and what has been done to it."""
        return self._state

    def facts(self) -> list[Fact]:
        """What is true now of the things that commands change, sorted; "not_inreceptacle" where a take has parted
        a thing from a receptacle. These are all the facts that alfworld's handcoded expert looks at."""
        house, state = self.game.house, self._state
        things, receptacles, places = house.things, house.receptacles, house.places
        facts: list[Fact] = [("atlocation", (house.agent, places[state.place].name))]
        if state.held is not None:
            facts.append(("holds", (house.agent, things[state.held].name)))
        facts += (
            ("inreceptacle", (things[o].name, receptacles[r].name)) for r, os in enumerate(state.contents) for o in os
        )
        facts += (("not_inreceptacle", (things[o].name, receptacles[r].name)) for o, r in state.parted)
        facts += (("opened", (receptacles[r].name,)) for r in state.opened)
        for condition in ("clean", "hot", "cool", "sliced", "toggled"):
            facts += ((f"is{condition}", (things[o].name,)) for o in getattr(state, condition))
        return sorted(facts)

    def _carry_out(self, command: str) -> Observation:
        house = self.game.house
        self._state, text = carry_out(house, self._state, command)
        won = _has_won(house, self._state)
        return Observation(text, admissible_commands(house, self._state), float(won), done=won)


@lru_cache(maxsize=256)
def _start(game: Game) -> Snapshot:
    """Where a game begins: a game is opened for every branch, far more often than there are games."""
    house = game.house
    won = _has_won(house, house.start)
    commands = admissible_commands(house, house.start)
    return Snapshot(house.start, Observation(_introduction(game), commands, float(won), done=False))


def _has_won(house: House, state: State) -> bool:
    return house.goal.is_met(state, house.places[state.place].at_hand)


def _introduction(game: Game) -> str:
    house = game.house
    if house.places[house.start.place].at_hand:
        sight = look(house, house.start)
    else:
        sight = f"{wording.MIDDLE}{wording.a_list([receptacle.name for receptacle in house.receptacles])}."
    return f"{wording.WELCOME}\n\n{sight}\n\n{wording.TASK}{game.task}"
