"""What is left to do of a plan that wins a game, when somebody else has begun to play it."""

from collections.abc import Iterable, Iterator, Sequence

from agentprm_dagster.envs.alfworld.reasons import PREPARATION, Progress
from agentprm_dagster.envs.alfworld.tasks import parse_task
from agentprm_dagster.episodes.records import Turn

_ENDS_A_PART = frozenset({"move", "put", "use"})


def left_to_do(first_observation: str, turns: Sequence[Turn], plan: Sequence[str]) -> list[str] | None:
    """The rest of the plan's commands behind `turns`; None where the plan does not say what to do there.

    An object of the task's type that is held, or else one that lies here, takes the place of the plan's own, whether or
    not it is prepared already; where two are to be placed and one is, one more is. Any other object that is held is put
    down first, where one is. What the plan does with other objects is left out.

    Args:
        plan: `search.without_search` of a won episode of the same game, with all search left out.
    """
    progress = Progress(parse_task(first_observation), turns)
    parts = [part for part in _parts(plan) if (taken := _taken(part)) and progress.is_target(taken)]
    if progress.placed and len(parts) > 1:
        parts = [part for part in parts if _taken(part) not in progress.placed][:1]
    if not parts:
        return None
    before, held = [], progress.held
    if held is not None and not progress.holds_target:
        if progress.place is None:
            return None
        before, held = [f"move {held} to {progress.place}"], None
    if held is None and progress.found:
        held = progress.found[0]
        before.append(f"take {held} from {progress.lies[held]}")
    if held is None:
        return [*before, *(command for part in parts for command in part)]
    # The plan's part about this very object, if there is one, else its first.
    own = next((part for part in parts if _taken(part) == held), parts[0])
    others = [command for part in parts if part is not own for command in part]
    return [*before, *_with_held(own, held, progress), *others]


def next_part(plan: Sequence[str]) -> list[str]:
    """The plan's commands up to the one that ends its first part."""
    return next(_parts(plan), list(plan))


def _parts(plan: Iterable[str]) -> Iterator[list[str]]:
    """The plan, one part an object: from going to where it is to what is done with it last."""
    part: list[str] = []
    for command in plan:
        part.append(command)
        if command.split()[0] in _ENDS_A_PART:
            yield part
            part = []


def _taken(part: Sequence[str]) -> str | None:
    """The object that a part of a plan is about."""
    return next((" ".join(command.split()[1:3]) for command in part if command.startswith("take ")), None)


def _with_held(part: Sequence[str], held: str, progress: Progress) -> list[str]:
    """What a part has behind taking its object, done with the one that is held."""
    taken = _taken(part)
    if taken is None:
        return []
    after = next(i for i, command in enumerate(part) if command.startswith("take ")) + 1
    preparation = PREPARATION.get(progress.task.task_type)
    if preparation and held in progress.prepared:
        done = [i for i, command in enumerate(part) if command.startswith(f"{preparation} ")]
        after = done[0] + 1 if done else after
    return [command.replace(f" {taken} ", f" {held} ") for command in part[after:]]
