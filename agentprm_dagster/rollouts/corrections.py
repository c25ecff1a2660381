"""What an expert does where a policy has gone: the data of DAgger (Ross et al. 2011, arXiv 1011.0686).

The expert has won the same game by itself. From a turn of the policy's episode on it looks into the likeliest places
first (`rollouts.likeliest_first`), of those not looked into, and does with what it finds what it did then. Not in the
paper.
"""

import random
from collections.abc import Mapping, Sequence

from agentprm_dagster.envs.base import EnvironmentKind, Task
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.rollouts.demonstrations import Demonstration
from agentprm_dagster.rollouts.likeliest_first import in_order, play_in_order
from agentprm_dagster.rollouts.plans import plan_of

REFUSED = 2
"""Behind so many of an episode's refused commands the expert takes over: a policy that repeats one is lost there."""


def corrections(
    episodes: Sequence[Episode],
    games: Mapping[str, Task],
    shown: Mapping[str, Episode],
    kind: EnvironmentKind,
    *,
    states: int,
    states_of_lost: int,
    more_steps: int,
    seed: int,
    monitor: Monitor,
    keep_candidates: bool = False,
) -> list[Episode]:
    """Episodes that a policy has begun and an expert has won; `start` is the expert's first turn.

    Args:
        episodes: of the policy; those of games that are not in `shown` are passed over.
        games: by id.
        shown: a won episode of an expert, by the game's id.
        states: turns of a won episode behind which the expert takes over, drawn uniformly; `states_of_lost` of a lost
            one. It takes over behind the first commands that were refused as well.
        more_steps: most commands of the expert.

    Raises:
        TypeError: the kind of environment knows no order to look into places.
    """
    searched = in_order(kind)
    order = searched.search_order(list(shown.values()))
    found = []
    for i, episode in enumerate(episodes):
        rng = random.Random(f"{seed} {episode.episode_id}")
        if episode.game in shown:
            plan = plan_of(shown[episode.game], searched)
            for t in _places(episode, states if episode.won else states_of_lost, rng):
                play = Demonstration(
                    games[episode.game], kind, max_steps=t + more_steps, seed=seed, keep_candidates=keep_candidates
                )
                play.repeat(episode.turns[:t])
                corrected = play_in_order(play, plan, order, searched, f"{episode.episode_id}@{t}", start=t)
                found += [corrected] if corrected.won else []
        if i % 200 == 199 or i == len(episodes) - 1:
            monitor.progress(i + 1, len(episodes), "episodes corrected")
    return found


def _places(episode: Episode, states: int, rng: random.Random) -> list[int]:
    """The turns before which the expert takes over."""
    turns = range(1, len(episode.turns))
    refused = [t for t in turns if not episode.turns[t - 1].admissible]
    return sorted({*rng.sample(turns, min(states, len(turns))), *refused[:REFUSED]})
