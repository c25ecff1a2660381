"""Mistakes for a demonstrator to recover from: noise injected into demonstrations, as in DART (Laskey et al., 2017).

A policy that errs once is where no expert has ever been, and goes on as if it had not erred: of what a small one loses,
most is lost by carrying about an object that it never picked up. Shown what an expert does behind a mistake, it learns
to read the reply. A mistake here is a command that cannot be done, so that it costs a turn and changes nothing; only
the expert's own answers are learnt from.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from agentprm_dagster.envs.alfworld.reasons import PREPARATION, Progress, explain
from agentprm_dagster.envs.alfworld.tasks import parse_task
from agentprm_dagster.episodes.records import Turn

_MOST_OF_A_TYPE = 3
_NOT_NOTICED = 0.3
"""How often the mistake is not noticed at once, and a second one builds on it."""


def draw_mistakes(first_observation: str, turns: Sequence[Turn], rng: random.Random) -> Iterator[tuple[str, str]]:
    """Mistakes (reason, action) to make one after the other behind `turns`; none before any place was reached.

    The player takes an object of the task's type where none is seen, or by another's number, and perhaps goes on as if
    it held it; with an object in hand, it puts it down where it stands or takes another. Where one is
    admissible, it is no mistake, and the caller stops before it.
    """
    progress = Progress(parse_task(first_observation), turns)
    if progress.place is None:
        return
    imagined = f"{progress.task.object} {rng.randint(1, _MOST_OF_A_TYPE)}"
    take = f"take {imagined} from {progress.place}"
    if progress.held:
        action = rng.choice([f"move {progress.held} to {progress.place}", take])
        yield explain(first_observation, turns, action), action
        return
    yield explain(first_observation, turns, take), take
    if rng.random() < _NOT_NOTICED:
        misread = replace(turns[-1], observation=f"You pick up the {imagined} from the {progress.place}.")
        action = _with_it(progress, imagined, rng)
        yield explain(first_observation, [*turns, misread], action), action


def _with_it(progress: Progress, imagined: str, rng: random.Random) -> str:
    preparation = PREPARATION.get(progress.task.task_type)
    if preparation and rng.random() < 0.5:
        return f"{preparation} {imagined} with {progress.place}"
    return f"move {imagined} to {progress.place}"
