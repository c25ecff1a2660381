"""Demonstrations with less search, replayed.

Who looks into one place after another shows where an object is only at the end. In hindsight the visits that found
nothing can be left out; what remains goes to the object as if it were known where it is. Each visit is left out with a
chance, so that some search remains: who imitates such episodes goes where an object most likely is, and still knows
what to do where it is not. Not in the paper.
"""

import random
from collections.abc import Sequence
from functools import partial

from agentprm_dagster.envs.base import EnvironmentKind, LeavesOutSearch, Task
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.rollouts.demonstrations import Demonstration


def shortened(
    episodes: Sequence[Episode],
    games: Sequence[Task],
    kind: EnvironmentKind,
    *,
    copies: int,
    most: float,
    max_steps: int,
    seed: int,
    monitor: Monitor,
    action_noise: float = 0.0,
    place_noise: float = 0.0,
    keep_candidates: bool = False,
) -> list[Episode]:
    """Won episodes as `copies` shorter ones each, or as they are where none of these wins; lost ones as they are.

    Args:
        games: of all episodes.
        most: the largest share of the search that a copy leaves out (`LeavesOutSearch`): `most` (1 - u²) with u drawn
            uniformly between 0 and 1, so that more is left out of most copies than of a few.
        action_noise, place_noise: see `rollouts.demonstrations.Demonstration`; mistakes of the episode are left out.

    Raises:
        TypeError: the kind of environment does not know what found nothing.
    """
    if not isinstance(kind, LeavesOutSearch):
        raise TypeError(f"expected a kind of environment that knows which commands found nothing, got {kind.name}")
    begin = partial(
        Demonstration,
        kind=kind,
        max_steps=max_steps,
        action_noise=action_noise,
        place_noise=place_noise,
        keep_candidates=keep_candidates,
    )
    by_id = {game.id: game for game in games}
    shorter: list[Episode] = []
    for i, episode in enumerate(episodes):
        won = []
        for number in range(copies if episode.won else 0):
            name = f"{episode.episode_id}~{number}"
            rng = random.Random(f"{seed} {name}")
            done = [turn.action for turn in episode.turns if turn.admissible]
            actions = kind.without_search(done, most * (1 - rng.random() ** 2), rng)
            copy = play_plan(begin(by_id[episode.game], seed=f"{seed} mistakes {name}"), actions, kind, name)
            won += [copy] if copy.won else []
        shorter += won or [episode]
        if i % 200 == 199 or i == len(episodes) - 1:
            monitor.progress(i + 1, len(episodes), "shortened")
    return shorter


def play_plan(
    play: Demonstration, actions: Sequence[str], kind: LeavesOutSearch, episode_id: str, start: int = 0
) -> Episode:
    """Ends where an action cannot be done and nothing does as well: what comes after would be about something else.

    The episode's own turns begin at `start`.
    """
    for action in actions:
        instead = [action] if play.observation.admits(action) else kind.instead(action, play.observation)
        if instead is None:
            break
        if instead and instead[0] == play.refused:  # nobody tries that again
            instead = instead[1:]
        for each in instead:
            if not play.over:
                play.do(each)
    return play.episode(episode_id, start)
