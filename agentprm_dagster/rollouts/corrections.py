"""What an expert does where a policy has gone: the data of DAgger (Ross et al. 2011, arXiv 1011.0686).

The expert has won the same game by itself, so that it is known in hindsight where things are. From a turn of the
policy's episode on, what is left of its plan is played, without any search. A policy that imitates many of these goes
where an object most likely is, of the places where it has not looked. Not in the paper.
"""

import random
from collections.abc import Mapping, Sequence

from agentprm_dagster.envs.base import EnvironmentKind, LeavesOutSearch, Task
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.rollouts.demonstrations import Demonstration
from agentprm_dagster.rollouts.shortening import play_plan

REFUSED = 2
"""Behind so many of an episode's refused commands the plan takes over: a policy that repeats one is lost there."""


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
    """Episodes that a policy has begun and an expert's plan has won; `start` is the plan's first turn.

    Args:
        episodes: of the policy; those of games that are not in `shown` are passed over.
        games: by id.
        shown: a won episode of an expert, by the game's id.
        states: turns of a won episode behind which the plan takes over, drawn uniformly; `states_of_lost` of a lost
            one. It takes over behind the first commands that were refused as well.
        more_steps: most commands of the plan.

    Raises:
        TypeError: the kind of environment does not know what of a plan is left.
    """
    if not isinstance(kind, LeavesOutSearch):
        raise TypeError(f"expected a kind of environment that knows what is left of a plan, got {kind.name}")
    found = []
    for i, episode in enumerate(episodes):
        rng = random.Random(f"{seed} {episode.episode_id}")
        if episode.game in shown:
            done = [turn.action for turn in shown[episode.game].turns if turn.admissible]
            plan = kind.without_search(done, 1.0, rng)
            for t in _places(episode, states if episode.won else states_of_lost, rng):
                left = kind.left_to_do(episode.first_observation, episode.turns[:t], plan)
                if not left:
                    continue
                play = Demonstration(
                    games[episode.game], kind, max_steps=t + more_steps, seed=seed, keep_candidates=keep_candidates
                )
                play.repeat(episode.turns[:t])
                if not play.over:
                    corrected = play_plan(play, left, kind, f"{episode.episode_id}@{t}", start=t)
                    found += [corrected] if corrected.won else []
        if i % 200 == 199 or i == len(episodes) - 1:
            monitor.progress(i + 1, len(episodes), "episodes corrected")
    return found


def _places(episode: Episode, states: int, rng: random.Random) -> list[int]:
    """The turns before which the plan takes over."""
    turns = range(1, len(episode.turns))
    refused = [t for t in turns if not episode.turns[t - 1].admissible]
    return sorted({*rng.sample(turns, min(states, len(turns))), *refused[:REFUSED]})
