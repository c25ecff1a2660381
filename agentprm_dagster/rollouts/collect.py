"""Rollouts: whole episodes and branches from states along them. Stage 1 of the paper's Algorithm 1.

A policy seldom gets to where an expert goes. Part of the whole episodes may therefore begin at states along an expert's
(the paper's Reset-50-50, section 4); the turns on the way there are the expert's and are not the episode's own.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from agentprm_dagster.envs.base import Task
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor, PartMonitor
from agentprm_dagster.rollouts.branches import branches
from agentprm_dagster.rollouts.placement import Placer
from agentprm_dagster.rollouts.replay import Replay
from agentprm_dagster.rollouts.rollout import Agent, Start, play


def whole_episodes(games: Sequence[Task], per_game: int) -> list[Start]:
    """Every game from its start, several times."""
    return [Start(f"{game.id}#{k}", game) for game in games for k in range(per_game)]


def from_expert_states(
    starts: Sequence[Start], demonstrations: Mapping[str, Sequence[Episode]], *, share: float, max_steps: int, seed: int
) -> list[Start]:
    """The same starts, a share of them moved to a state along an expert's episode of their game: any of it, any turn.

    `demonstrations` are the expert's episodes by game. A start stays where it is if its game was not shown. No episode
    is moved to its game's start, nor to where `max_steps`, counted from there, are over.
    """
    rng = random.Random(f"{seed} expert starts")
    long_enough = {
        game: [each for each in them if min(len(each.turns), max_steps) > 1] for game, them in demonstrations.items()
    }
    replays: dict[str, Replay] = {}
    moved = list(starts)
    for i in sorted(rng.sample(range(len(starts)), round(share * len(starts)))):
        start = starts[i]
        if not (experts := long_enough.get(start.game.id)):
            continue
        expert = rng.choice(experts)
        turn = rng.randrange(1, min(len(expert.turns), max_steps))
        if expert.episode_id not in replays:
            replays[expert.episode_id] = Replay(start.game, expert.turns)
        moved[i] = replace(start, turns=expert.turns[:turn], replay=replays[expert.episode_id])
    return moved


def collect_rollouts(
    agent: Agent,
    games: Sequence[Task],
    *,
    per_game: int,
    max_steps: int,
    branch_states: int,
    branch_actions: int,
    branch_continuations: int,
    branch_temperature: float,
    seed: int,
    monitor: Monitor,
    patience: int | None = None,
    keep_candidates: bool = False,
    expert_starts: float = 0.0,
    demonstrations: Mapping[str, Sequence[Episode]] = MappingProxyType({}),
    placer: Placer | None = None,
) -> list[Episode]:
    """Whole episodes of every game, then branches from states along them (`branch_actions` 0: the paper's way).

    A share `expert_starts` of the whole episodes begins at states along an expert's, `demonstrations` by game; a
    `placer` says where it is worth while to branch.
    """
    starts = whole_episodes(games, per_game)
    if expert_starts:
        starts = from_expert_states(starts, demonstrations, share=expert_starts, max_steps=max_steps, seed=seed)
    go = partial(play, agent, max_steps=max_steps, patience=patience, keep_candidates=keep_candidates)
    episodes = go(starts, total=len(starts), monitor=monitor)
    if not (branch_states and branch_actions):
        return episodes
    more = branches(
        agent,
        episodes,
        games,
        states=branch_states,
        actions=branch_actions,
        continuations=branch_continuations,
        temperature=branch_temperature,
        seed=seed,
        monitor=monitor,
        placer=placer,
    )
    return episodes + go(more, total=len(more), monitor=PartMonitor("branch", monitor))
