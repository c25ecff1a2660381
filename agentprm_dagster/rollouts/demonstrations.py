"""Expert episodes: what pi_0 is fine-tuned on, and what InversePRM takes for good.

The expert gives commands; the REASON beside each is a sentence made by rule from what the episode has shown so far.
Mistakes may be mixed in (`envs.alfworld.slips`) for the expert to recover from; they alone are not admissible.
"""

import random
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from typing import TypeVar

from agentprm_dagster.envs.alfworld.reasons import explain
from agentprm_dagster.envs.alfworld.slips import draw_slips
from agentprm_dagster.envs.base import Demonstrable, ExpertGaveUp, Playable
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Turn
from agentprm_dagster.episodes.stage import Monitor

G = TypeVar("G", bound=Playable)


def demonstrate(
    game: Demonstrable,
    *,
    episode_id: str,
    kind: str,
    max_steps: int,
    seed: int,
    slips: float = 0.0,
    keep_candidates: bool = False,
) -> Episode:
    """One expert episode; lost where the expert gives up or has not won within `max_steps`, mistakes included.

    Before a share `slips` of the expert's turns the player errs. Nothing happens then, and the expert is not told.
    """
    environment = game.environment()
    expert = game.expert(kind, seed)
    rng = random.Random(seed)
    observation = first = environment.reset()
    turns: list[Turn] = []

    def play(reason: str, action: str) -> Observation:
        before, after = observation, environment.step(action)
        turns.append(
            Turn(
                reason=reason,
                action=action,
                observation=after.text,
                response=write_answer(reason, action),
                admissible=action in before.admissible_commands,
                candidates=before.admissible_commands if keep_candidates else (),
            )
        )
        return after

    while not observation.done and len(turns) < max_steps:
        try:
            action = expert.act(observation)
        except ExpertGaveUp:
            break
        if rng.random() < slips:
            for reason, mistake in draw_slips(first.text, tuple(turns), rng):
                if mistake in observation.admissible_commands or len(turns) >= max_steps - 1:
                    break
                play(reason, mistake)
        observation = play(explain(first.text, turns, action), action)
    truncated = not observation.done
    return Episode(
        episode_id, game.id, game.task_type, first.text, tuple(turns), won=observation.won, truncated=truncated
    )


def in_turn(games: Sequence[G], episodes: int) -> list[tuple[str, G]]:
    """So many episodes' ids and games: the games in turn, more than once where there are fewer of them."""
    return [(f"{game.id}#{i // len(games)}", game) for i, game in enumerate(islice(cycle(games), episodes))]


def collect_demonstrations(
    games: Sequence[Demonstrable],
    *,
    expert: str,
    episodes: int,
    max_steps: int,
    seed: int,
    monitor: Monitor,
    slips: float = 0.0,
    keep_candidates: bool = False,
) -> list[Episode]:
    """Plays the games `in_turn`; won and lost ones."""
    show = partial(demonstrate, kind=expert, max_steps=max_steps, slips=slips, keep_candidates=keep_candidates)
    demonstrations = []
    for i, (episode_id, game) in enumerate(in_turn(games, episodes)):
        demonstrations.append(show(game, episode_id=episode_id, seed=seed + i))
        if i % 50 == 49 or i == episodes - 1:
            monitor.progress(i + 1, episodes, "demonstrations")
    return demonstrations
