"""Which commands a state admits."""

from agentprm_dagster.envs.alfworld.house import House, Receptacle, Thing
from agentprm_dagster.envs.alfworld.state import State


def admissible_commands(house: House, state: State) -> tuple[str, ...]:
    """Every command that does something, sorted as strings.

    The verbs stand in the order of the alphabet and each one's commands are sorted, so the whole is.
    """
    place = house.places[state.place]
    at_hand = [(number, house.receptacles[number]) for number in place.at_hand]
    openable = [(receptacle.name, number in state.opened) for number, receptacle in at_hand if receptacle.openable]
    reachable = [pair for pair in at_hand if not pair[1].openable or pair[0] in state.opened]
    to_close = sorted(f"close {name}" for name, is_open in openable if is_open)
    to_open = sorted(f"open {name}" for name, is_open in openable if not is_open)
    to_use = _uses(house, state, place.at_hand)
    anywhere = ("help", "inventory", "look")
    if state.held is None:
        to_take = _takes(house, state, reachable)
        return (*to_close, *place.examine, *place.leave, *anywhere, *to_open, *to_take, *to_use)
    held = house.things[state.held]
    appliances = [receptacle for _, receptacle in at_hand if receptacle.treats]
    return (
        *_treatments("clean", held, appliances),
        *to_close,
        *_treatments("cool", held, appliances),
        *sorted((*place.examine, f"examine {held.name}")),
        *place.leave,
        *_treatments("heat", held, appliances),
        *anywhere,
        *sorted(f"move {held.name} to {r.name}" for _, r in reachable if state.held in r.accepts),
        *to_open,
        *(_slices(house, state, held) if held.is_knife else ()),
        *to_use,
    )


def _takes(house: House, state: State, reachable: list[tuple[int, Receptacle]]) -> list[str]:
    return sorted(
        f"take {house.things[thing].name} from {receptacle.name}"
        for number, receptacle in reachable
        for thing in state.contents[number]
        if "pickupable" in house.things[thing].abilities
    )


def _uses(house: House, state: State, at_hand: tuple[int, ...]) -> list[str]:
    if not house.switches:
        return []
    here = {thing for receptacle in at_hand for thing in state.contents[receptacle]}
    return sorted(f"use {house.things[thing].name}" for thing in here & house.switches)


def _treatments(verb: str, held: Thing, appliances: list[Receptacle]) -> list[str]:
    if f"{verb}able" not in held.abilities:
        return []
    return sorted(f"{verb} {held.name} with {appliance.name}" for appliance in appliances if verb in appliance.treats)


def _slices(house: House, state: State, knife: Thing) -> list[str]:
    here = (house.things[thing] for thing in state.located[state.place])
    return sorted(f"slice {thing.name} with {knife.name}" for thing in here if "sliceable" in thing.abilities)
