"""Which commands of a won episode found nothing, known in hindsight."""

from collections.abc import Iterable, Sequence

from agentprm_dagster.episodes.records import Observation

_DOES = frozenset({"take", "move", "put", "clean", "heat", "cool", "use", "slice"})
"""What changes where things are and how they are."""
_AT_A_PLACE = frozenset({"open", "take", "move", "put", "clean", "heat", "cool"})
"""What is done at the place that it names."""
_IDLE = frozenset({"close", "look", "inventory", "examine", "help"})
"""What no goal needs, and what tells nothing that is not told anyhow."""


def without_search(actions: Iterable[str]) -> list[str]:
    """The commands without idle ones, and without visits to places where nothing was done; each of them admissible."""
    visits = _visits(action for action in actions if _verb(action) not in _IDLE)
    return _without_returns(visit for visit in visits if _did_something(visit))


def instead(command: str, observation: Observation) -> list[str] | None:
    """What to do in place of a command that cannot be done: a place is at hand, open already, closed, or elsewhere.

    Several places may share a spot, and nobody can go from one to another of them. Who does not know that tries, sees
    that nothing happens, and looks there all the same.
    """
    verb, place = command.split(" ", 1)[0], _place_of(command)
    if verb == "open" and observation.admits(f"close {place}"):
        return []
    if verb == "go":
        return [command, f"examine {place}"] if observation.admits(f"examine {place}") else None
    before = [f"open {place}", f"go to {place}"] if verb in _AT_A_PLACE else []
    return next(([each, command] for each in before if observation.admits(each)), None)


def after_refusal(command: str) -> list[str]:
    """What to do behind a command that could not be done: who cannot go to a place looks into it."""
    place = command.removeprefix("go to ")
    return [] if place == command else [f"examine {place}"]


def _place_of(command: str) -> str:
    """The place that a command names last, with its number."""
    return " ".join(command.split()[-2:])


def _verb(action: str) -> str:
    return action.partition(" ")[0]


def _visits(actions: Iterable[str]) -> list[list[str]]:
    """The actions from one `go to` to the next; the first visit is of where the episode begins."""
    visits: list[list[str]] = [[]]
    for action in actions:
        if _verb(action) == "go":
            visits.append([])
        visits[-1].append(action)
    return visits


def _did_something(visit: Sequence[str]) -> bool:
    return any(_verb(action) in _DOES for action in visit)


def _without_returns(visits: Iterable[Sequence[str]]) -> list[str]:
    """The actions of some visits; one that goes where the visit before it went stays there."""
    actions: list[str] = []
    place = ""
    for action in (action for visit in visits for action in visit):
        if action != place:
            actions.append(action)
        if _verb(action) == "go":
            place = action
    return actions
