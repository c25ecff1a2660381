"""What each command does to a state, and what the game says to it."""

from collections.abc import Callable

from agentprm_dagster.envs.alfworld import wording
from agentprm_dagster.envs.alfworld.house import House
from agentprm_dagster.envs.alfworld.state import State
from agentprm_dagster.envs.alfworld.wording import a_list, listing

Outcome = tuple[State, str]
"""The next state and the game's answer."""


def carry_out(house: House, state: State, command: str) -> Outcome:
    """Carries out an admissible command."""
    verb, _, rest = command.partition(" ")
    return _ACTIONS[verb](house, state, rest)


def look(house: House, state: State) -> str:
    """What the agent sees around it."""
    at_hand = house.places[state.place].at_hand
    if not at_hand:
        return wording.MIDDLE + "nothing."
    beside = [house.things[o].name for o in state.located[state.place] for r in at_hand if (o, r) in state.parted]
    facing = listing([house.receptacles[receptacle].name for receptacle in at_hand])
    return f"{wording.FACING}{facing}{wording.NEXT_TO_IT}{a_list(beside)}."


def _look(house: House, state: State, _: str) -> Outcome:
    return state, look(house, state)


def _inventory(house: House, state: State, _: str) -> Outcome:
    if state.held is None:
        return state, wording.NOT_CARRYING
    return state, f"{wording.CARRYING}{a_list([house.things[state.held].name])}."


def _help(_house: House, state: State, _: str) -> Outcome:
    return state, wording.HELP


def _examine(house: House, state: State, name: str) -> Outcome:
    receptacle = house.receptacle_numbers.get(name)
    if receptacle is None:
        return state, _describe_thing(house, state, house.thing_numbers[name])
    return state, _describe_receptacle(house, state, receptacle)


def _go(house: House, state: State, to_name: str) -> Outcome:
    number = house.receptacle_numbers[to_name.removeprefix("to ")]
    receptacle = house.receptacles[number]
    state = state._replace(place=receptacle.place)
    return state, wording.ARRIVE.format(r=receptacle) + _describe_receptacle(house, state, number)


def _open(house: House, state: State, name: str) -> Outcome:
    number = house.receptacle_numbers[name]
    state = state._replace(opened=state.opened | {number})
    return state, wording.OPEN.format(r=house.receptacles[number]) + _describe_receptacle(house, state, number)


def _close(house: House, state: State, name: str) -> Outcome:
    number = house.receptacle_numbers[name]
    return state._replace(opened=state.opened - {number}), wording.CLOSE.format(r=house.receptacles[number])


def _take(house: House, state: State, names: str) -> Outcome:
    thing, receptacle = _two(house, names, " from ")
    state = state._replace(
        held=thing,
        contents=_at(state.contents, receptacle, lambda things: things - {thing}),
        located=_at(state.located, state.place, lambda things: things - {thing}),
        parted=state.parted | {(thing, receptacle)},
    )
    return state, wording.TAKE.format(o=house.things[thing], r=house.receptacles[receptacle])


def _move(house: House, state: State, names: str) -> Outcome:
    thing, receptacle = _two(house, names, " to ")
    state = state._replace(
        held=None,
        contents=_at(state.contents, receptacle, lambda things: things | {thing}),
        located=_at(state.located, state.place, lambda things: things | {thing}),
        parted=state.parted - {(thing, receptacle)},
    )
    return state, wording.MOVE.format(o=house.things[thing], r=house.receptacles[receptacle])


def _clean(house: House, state: State, names: str) -> Outcome:
    thing, receptacle = _two(house, names, " with ")
    state = state._replace(clean=state.clean | {thing})
    return state, wording.CLEAN.format(o=house.things[thing], r=house.receptacles[receptacle])


def _heat(house: House, state: State, names: str) -> Outcome:
    thing, receptacle = _two(house, names, " with ")
    state = state._replace(hot=state.hot | {thing}, cool=state.cool - {thing})
    return state, wording.HEAT.format(o=house.things[thing], r=house.receptacles[receptacle])


def _cool(house: House, state: State, names: str) -> Outcome:
    thing, receptacle = _two(house, names, " with ")
    state = state._replace(cool=state.cool | {thing}, hot=state.hot - {thing})
    return state, wording.COOL.format(o=house.things[thing], r=house.receptacles[receptacle])


def _use(house: House, state: State, name: str) -> Outcome:
    thing = house.thing_numbers[name]
    return state._replace(toggled=state.toggled | {thing}), wording.USE.format(o=house.things[thing])


def _slice(house: House, state: State, names: str) -> Outcome:
    name, _, knife = names.partition(" with ")
    thing = house.thing_numbers[name]
    state = state._replace(sliced=state.sliced | {thing})
    return state, wording.SLICE.format(co=house.things[thing], ko=house.things[house.thing_numbers[knife]])


_ACTIONS: dict[str, Callable[[House, State, str], Outcome]] = {
    "clean": _clean,
    "close": _close,
    "cool": _cool,
    "examine": _examine,
    "go": _go,
    "heat": _heat,
    "help": _help,
    "inventory": _inventory,
    "look": _look,
    "move": _move,
    "open": _open,
    "slice": _slice,
    "take": _take,
    "use": _use,
}


def _describe_receptacle(house: House, state: State, number: int) -> str:
    receptacle = house.receptacles[number]
    if receptacle.openable and number not in state.opened:
        return wording.IS_CLOSED.format(r=receptacle)
    sentence = wording.IS_OPEN if receptacle.openable else wording.ON_IT
    return f"{sentence.format(r=receptacle)}{a_list([house.things[o].name for o in state.contents[number]])}."


def _describe_thing(house: House, state: State, number: int) -> str:
    thing = house.things[number]
    if thing.inside is not None:
        return f"{wording.CONTAINER.format(o=thing)}{a_list(thing.inside)}."
    for conditions, sentence in wording.EXAMINED:
        if all(number in getattr(state, condition) for condition in conditions):
            return sentence.format(o=thing)
    return wording.PLAIN.format(o=thing)


def _two(house: House, names: str, between: str) -> tuple[int, int]:
    thing, _, receptacle = names.partition(between)
    return house.thing_numbers[thing], house.receptacle_numbers[receptacle]


def _at(
    groups: tuple[tuple[int, ...], ...], index: int, change: Callable[[frozenset[int]], frozenset[int]]
) -> tuple[tuple[int, ...], ...]:
    return (*groups[:index], tuple(sorted(change(frozenset(groups[index])))), *groups[index + 1 :])
