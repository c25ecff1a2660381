"""Has games played in shards and brings the episodes together, in the order of the games.

Each shard has a seed of its own: who plays it, and beside how many others, decides when it is played and not what comes
of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from agentprm_dagster.engine.kinds import AS_TRANSFORMERS
from agentprm_dagster.episodes.engine_difference import EngineDifference
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.episodes.values import Values, read_values
from agentprm_dagster.launch.play import Play
from agentprm_dagster.launch.worker import Progress, Shard, read_difference, read_usage

SHARD_GAMES = 50
"""Most games of a shard: enough to keep the slots busy, few enough for several workers to share a split evenly."""


@dataclass(frozen=True)
class Played:
    """What came of a play."""

    episodes: list[Episode]
    usage: Usage
    difference: EngineDifference | None = None
    """How far the engine is from transformers; None where it was not compared."""
    values: Values = field(default_factory=dict)
    """What `Play.valued_by` says of the episodes."""


class Players(Protocol):
    """Who plays shards: processes of this machine (`launch.processes`), or a cluster's (`launch.on_ray.playing`)."""

    def play(self, shards: Sequence[Shard]) -> Iterator[tuple[int, Progress | None]]:
        """Until all are played: the number of a shard, and how far it is, or None once its episodes are in its folder.

        Raises:
            WorkerError, ClusterError: a player failed.
        """


def play_in_shards(
    plays: Mapping[str, Play], players: Players, *, scratch: Path, monitor: Monitor
) -> dict[str, Played]:
    """What came of every play, by its name.

    A name tells a play's progress from that of others, and may be empty where there is no other. `scratch` is a folder,
    made where it is missing; shards of the same plays that were played there are not again.

    Raises:
        WorkerError, ClusterError: a player failed.
    """
    shards = {name: _shards(play, scratch / f"play{i}") for i, (name, play) in enumerate(plays.items())}
    left = [(name, shard) for name, parts in shards.items() for shard in parts if not shard.out.exists()]
    _play(_by_models(left), players, monitor)
    return {name: _together(parts) for name, parts in shards.items()}


def _by_models(named: Sequence[tuple[str, Shard]]) -> list[tuple[str, Shard]]:
    """The shards whose plays need the same models one after the other, so that a process need not load them again."""
    models = [(shard.play.policy, _judge(shard.play)) for _, shard in named]
    order = list(dict.fromkeys(models))
    return [each for _, each in sorted(zip(models, named, strict=True), key=lambda pair: order.index(pair[0]))]


def _judge(play: Play) -> Path | None:
    if play.choice:
        return play.choice.judge
    return play.valued_by.prm if play.valued_by else None


def _together(shards: Sequence[Shard]) -> Played:
    episodes = [episode for shard in shards for episode in read_episodes(shard.out)]
    usage = sum((read_usage(shard.out) for shard in shards), Usage())
    values = {name: turns for shard in shards for name, turns in read_values(shard.out).items()}
    return Played(episodes, usage, next((read_difference(shard.out) for shard in shards), None), values)


def _shards(play: Play, folder: Path) -> list[Shard]:
    """Cuts the games into shards of about the same size; in the first the engine is compared, if it needs to be."""
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-len(play.games) // SHARD_GAMES)
    compared = play.engine.kind not in AS_TRANSFORMERS and play.choice is None
    cuts = [len(play.games) * i // max(count, 1) for i in range(count + 1)]
    return [
        Shard(replace(play, games=play.games[first:last], seed=play.seed + i), folder / f"{i:04d}", compared and i == 0)
        for i, (first, last) in enumerate(pairwise(cuts))
    ]


def _play(named: Sequence[tuple[str, Shard]], players: Players, monitor: Monitor) -> None:
    """Has the shards, each with its play's name, played."""
    sums = _Sums(Counter(name for name, _ in named), monitor)
    for number, progress in players.play([shard for _, shard in named]):
        if progress:
            name, shard = named[number]
            sums.add(name, shard, progress)


class _Sums:
    """Adds up what the shards of a play tell; those that have not told yet are taken to be like those that have."""

    def __init__(self, shards: Counter[str], monitor: Monitor) -> None:
        self._shards, self._monitor = shards, monitor
        self._told: defaultdict[tuple[str, str], dict[Path, tuple[int, int]]] = defaultdict(dict)

    def add(self, name: str, shard: Shard, progress: Progress) -> None:
        """What a shard of the play called `name` has told."""
        done, total, what = progress
        reported = self._told[name, what]
        reported[shard.out] = done, total
        everything = sum(total for _, total in reported.values()) * self._shards[name] // len(reported)
        self._monitor.progress(sum(done for done, _ in reported.values()), everything, f"{name} {what}".strip())
