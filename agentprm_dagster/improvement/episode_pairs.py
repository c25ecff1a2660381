"""Pairs of episodes of one game of which one fared better: what trajectory-level DPO learns from."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from agentprm_dagster.episodes.records import Episode


@dataclass(frozen=True, slots=True)
class EpisodePair:
    """Two episodes, whole ones or branches, and which turns of each are compared: to its end, from some turn on."""

    better: Episode
    worse: Episode
    better_from: int
    worse_from: int


def episode_pairs(episodes: Sequence[Episode], most: int, seed: int) -> list[EpisodePair]:
    """At most so many pairs of each game whose rewards differ, drawn at random.

    Compared is what the policy did: not what an expert did before it (`rollouts.expert_starts`), and not what both did
    before they parted, whose log-ratios cancel.
    """
    by_id = {episode.episode_id: episode for episode in episodes}
    games: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.own_turns:
            games[episode.game].append(episode)
    pairs: list[EpisodePair] = []
    for game, played in games.items():
        found = [
            _pair(better, worse, by_id)
            for better, worse in product(played, repeat=2)
            if better.reward > worse.reward and _parted(better, worse)
        ]
        pairs += random.Random(f"{seed} pairs {game}").sample(found, min(most, len(found)))
    return pairs


def _pair(better: Episode, worse: Episode, by_id: Mapping[str, Episode]) -> EpisodePair:
    shared = _shared(better, worse)
    return EpisodePair(better, worse, max(shared, _begin(better, by_id)), max(shared, _begin(worse, by_id)))


def _begin(episode: Episode, by_id: Mapping[str, Episode]) -> int:
    """The first turn that was the policy's, its own or that of an episode which it branches off."""
    while episode.parent is not None:
        episode = by_id[episode.parent]
    return episode.start


def _parted(one: Episode, other: Episode) -> bool:
    """Whether each did something that the other did not."""
    return _shared(one, other) < min(len(one.turns), len(other.turns))


def _shared(one: Episode, other: Episode) -> int:
    """How many turns they have in common from the start."""
    both = zip(one.turns, other.turns, strict=False)
    return next((t for t, (a, b) in enumerate(both) if a != b), min(len(one.turns), len(other.turns)))
