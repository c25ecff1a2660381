"""Plans: what a won episode did, without what found nothing, and how another player of the game follows one."""

from collections.abc import Iterable, Iterator, Sequence

from agentprm_dagster.envs.alfworld.reasons import PREPARATION, Progress
from agentprm_dagster.episodes.records import Observation

_DOES = frozenset({"take", "move", "put", "clean", "heat", "cool", "use", "slice"})
"""What changes where things are and how they are."""
_AT_A_PLACE = frozenset({"open", "take", "move", "put", "clean", "heat", "cool"})
"""What is done at the place that it names."""
_IDLE = frozenset({"close", "look", "inventory", "examine", "help"})
"""What no goal needs, and what tells nothing that is not told anyhow."""
_ENDS_A_PART = frozenset({"move", "put", "use"})
"""What is done last with an object."""


def without_search(actions: Iterable[str]) -> list[str]:
    """The commands without idle ones, and without visits to places where nothing was done; each of them admissible."""
    visits = _visits(action for action in actions if _verb(action) not in _IDLE)
    return _without_returns(visit for visit in visits if _did_something(visit))


def with_held(progress: Progress, plan: Iterable[str]) -> list[str]:
    """What is done next with what is held; nothing where the plan does not say.

    An object of the task's type takes the place of the plan's own, from where it is prepared if it is prepared already.
    Any other one is put down where one is.

    Args:
        plan: `without_search` of a won episode of the same game.
    """
    held = progress.held
    if held is None or not progress.holds_target:
        return [f"move {held} to {progress.place}"] if held and progress.place else []
    parts = {taken: part for part in _parts(plan) if (taken := _taken(part)) and progress.is_target(taken)}
    for placed in sorted(progress.placed & parts.keys() - {held}):
        if len(parts) > 1:
            del parts[placed]
    # The plan's part about this very object, if there is one, else its first.
    taken, part = (held, parts[held]) if held in parts else next(iter(parts.items()), ("", []))
    return [command.replace(f" {taken} ", f" {held} ") for command in _behind(part, progress)]


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


def _parts(plan: Iterable[str]) -> Iterator[list[str]]:
    """The plan, one part an object: from going to where it is to what is done with it last."""
    part: list[str] = []
    for command in plan:
        part.append(command)
        if _verb(command) in _ENDS_A_PART:
            yield part
            part = []


def _taken(part: Sequence[str]) -> str | None:
    """The object that a part is about."""
    return next((" ".join(command.split()[1:3]) for command in part if _verb(command) == "take"), None)


def _behind(part: Sequence[str], progress: Progress) -> Sequence[str]:
    """What is left of a part once its object is taken, or prepared."""
    done = {"take"}
    if progress.held in progress.prepared:
        done.add(PREPARATION[progress.task.task_type])
    return part[max((i for i, command in enumerate(part, start=1) if _verb(command) in done), default=0) :]


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
