"""Expert episodes: what pi_0 is fine-tuned on, and what InversePRM takes for good.

The expert gives commands; the REASON beside each is a sentence made by rule from what the episode has shown so far.
Mistakes may be mixed in (`envs.base.DrawsMistakes`) for the expert to recover from; they alone are not admissible.
"""

import random
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from typing import TypeVar

from agentprm_dagster.envs.base import (
    Demonstrable,
    DrawsMistakes,
    EnvironmentKind,
    ExpertGaveUp,
    Task,
    explain_in,
)
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Turn
from agentprm_dagster.episodes.stage import Monitor

G = TypeVar("G", bound=Task)


def demonstrate(
    game: Task,
    kind: EnvironmentKind,
    *,
    episode_id: str,
    expert: str,
    max_steps: int,
    seed: int,
    action_noise: float = 0.0,
    keep_candidates: bool = False,
) -> Episode:
    """One expert episode; lost where the expert gives up or has not won within `max_steps`, mistakes included.

    Before a share `action_noise` of the expert's turns the player errs, in environments that know how
    (`DrawsMistakes`). Nothing happens then, and the expert is not told.

    Raises:
        TypeError: nobody can show the game.
        ValueError: its kind of environment has no such expert.
    """
    if not isinstance(game, Demonstrable):
        raise TypeError(f"expected a game that an expert can play, got {game.id}, which has none")
    if expert not in kind.experts:
        raise ValueError(f"expected an expert of {kind.name}, one of {', '.join(kind.experts)}, got {expert!r}")
    environment, explain = game.environment(), explain_in(kind)
    demonstrator = game.expert(expert, seed)
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
                admissible=before.admits(action),
                candidates=before.commands if keep_candidates else (),
            )
        )
        return after

    while not observation.done and len(turns) < max_steps:
        try:
            action = demonstrator.act(observation)
        except ExpertGaveUp:
            break
        if rng.random() < action_noise and isinstance(kind, DrawsMistakes):
            for reason, mistake in kind.mistakes(first.text, tuple(turns), rng):
                if observation.admits(mistake) or len(turns) >= max_steps - 1:
                    break
                play(reason, mistake)
        observation = play(explain(first.text, turns, action), action)
    truncated = not observation.done or observation.truncated
    return Episode(
        episode_id, game.id, game.kind, first.text, tuple(turns), reward=observation.reward, truncated=truncated
    )


def in_turn(games: Sequence[G], episodes: int) -> list[tuple[str, G]]:
    """So many episodes' ids and games: the games in turn, more than once where there are fewer of them."""
    return [(f"{game.id}#{i // len(games)}", game) for i, game in enumerate(islice(cycle(games), episodes))]


def collect_demonstrations(
    games: Sequence[Task],
    kind: EnvironmentKind,
    *,
    expert: str,
    episodes: int,
    max_steps: int,
    seed: int,
    monitor: Monitor,
    action_noise: float = 0.0,
    keep_candidates: bool = False,
) -> list[Episode]:
    """Plays the games `in_turn`; won and lost ones."""
    show = partial(
        demonstrate, expert=expert, max_steps=max_steps, action_noise=action_noise, keep_candidates=keep_candidates
    )
    demonstrations = []
    for i, (episode_id, game) in enumerate(in_turn(games, episodes)):
        demonstrations.append(show(game, kind, episode_id=episode_id, seed=seed + i))
        if i % 50 == 49 or i == episodes - 1:
            monitor.progress(i + 1, episodes, "demonstrations")
    return demonstrations
