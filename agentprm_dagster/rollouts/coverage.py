"""State coverage: how many different states of the engine a rollout set has taken decisions in.

A state of the engine is where everything is and what has been done to it. It is less than the paper's state, which is
the whole history: two ways to the same place are one state here. What is known by then may differ; where the policy has
been does not. States of different games are different.

How many are seen depends on how many decisions look, so that ways of exploring are compared at the same number.
"""

import random
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from agentprm_dagster.envs.base import Task
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.rollouts.replay import Replay

Kind = Literal["whole", "reset", "branch"]
"""Whole episodes from the game's start, those from a state along an expert's, and branches."""
KINDS: tuple[Kind, ...] = get_args(Kind)

PICTURE = "coverage.png"
"""The file beside a rollout set that shows it."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a rollout set has seen."""

    seen: Mapping[Kind, np.ndarray]
    """By kind of episode, where there are any: distinct states after each of its decisions."""
    states: int
    """Distinct states over all episodes."""
    expert_states: int
    """Distinct states in which an expert took decisions in these games."""
    expert_states_seen: int

    def metrics(self) -> dict[str, float]:
        """The counts, and of every kind the states per decision, over as many decisions as the rarest kind has."""
        least = min(map(len, self.seen.values()))
        each = {f"{kind}_states_per_decision": float(seen[least - 1] / least) for kind, seen in self.seen.items()}
        share = {"expert_states_seen": self.expert_states_seen / self.expert_states} if self.expert_states else {}
        return {"distinct_states": float(self.states), **each, **share}


def kind_of(episode: Episode) -> Kind:
    """What kind of start an episode had."""
    if episode.parent:
        return "branch"
    return "reset" if episode.start else "whole"


def coverage(episodes: Iterable[Episode], demonstrations: Iterable[Episode], games: Mapping[str, Task]) -> Coverage:
    """What the episodes have seen, parents standing before their branches; `demonstrations` are an expert's.

    Both are played again, in `games` (by id); of what an expert shows only the games that the episodes play count.

    Raises:
        RuntimeError: an episode does not replay.
    """
    by_game: dict[str, list[Episode]] = defaultdict(list)
    expert_by_game: dict[str, list[Episode]] = defaultdict(list)
    for grouped, those in ((by_game, episodes), (expert_by_game, demonstrations)):
        for episode in those:
            grouped[episode.game].append(episode)
    visits: dict[Kind, list[list[int]]] = {kind: [] for kind in KINDS}
    states = expert_states = expert_states_seen = 0
    for game, played in by_game.items():
        numbers: dict[Hashable, int] = {}
        for episode, visited in zip(played, _visited(played, games[game]), strict=True):
            visits[kind_of(episode)].append([numbers.setdefault(state, states + len(numbers)) for state in visited])
        expert = {state for visited in _visited(expert_by_game[game], games[game]) for state in visited}
        states += len(numbers)
        expert_states += len(expert)
        expert_states_seen += len(expert & numbers.keys())
    seen = {kind: distinct_over_decisions(each) for kind, each in visits.items() if any(each)}
    return Coverage(seen, states, expert_states, expert_states_seen)


def _visited(episodes: Sequence[Episode], game: Task) -> list[list[Hashable]]:
    """The states in which each episode took its own decisions."""
    parents = {episode.parent for episode in episodes}
    replays: dict[str, Replay] = {}
    visited = []
    for episode in episodes:
        parent = replays[episode.parent] if episode.parent else None
        replay = Replay(game, episode.turns, parent=parent, shared=episode.start if parent else 0)
        if episode.episode_id in parents:
            replays[episode.episode_id] = replay
        visited.append(replay.states[episode.start : -1])
    return visited


def distinct_over_decisions(visits: Sequence[Sequence[int]]) -> np.ndarray:
    """How many different states were seen after 1, 2, ... decisions (D,), the episodes in a random order."""
    order = random.Random(0).sample(visits, len(visits))
    decisions = np.array([state for visited in order for state in visited])
    new = np.zeros(len(decisions), dtype=np.int64)
    new[np.unique(decisions, return_index=True)[1]] = 1
    return new.cumsum()
