"""Shards of games as tasks of a Ray cluster: the same shards and seeds, so that the same episodes come back.

`RayPlayers` has them played by a process of its own: one that is connected to a cluster ends when the cluster's head
does. What is played by then is kept.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agentprm_dagster.cluster.connection import connected, require_versions, versions
from agentprm_dagster.cluster.mail import Mailbox, errors_told, failure, heard
from agentprm_dagster.cluster.parcels import Parcel, pack, pack_folder, unpacked
from agentprm_dagster.config.compute import PlayingCompute
from agentprm_dagster.launch.on_ray.monitor import SlotMonitor
from agentprm_dagster.launch.play import Play
from agentprm_dagster.launch.worker import Progress, Shard, play_shard
from agentprm_dagster.workers import Worker

_RETRIES = 5
"""How often a shard is played again whose node or process was lost."""
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class RayPlayers:
    """See `launch.pool.Players`."""

    compute: PlayingCompute

    def play(self, shards: Sequence[Shard]) -> Iterator[tuple[int, Progress | None]]:
        """Raises ClusterError where a player or its node failed, WorkerError where the head is gone."""
        if not shards:
            return
        with closing(Worker(__name__)) as worker:
            worker.send((shards, self.compute))
            left = len(shards)
            while left:
                number, progress = heard(worker)
                left -= progress is None
                yield number, progress


def serve(pipe: Connection) -> None:
    """Receives the shards, and tells of them as `RayPlayers.play` does."""
    shards, compute = pipe.recv()
    with errors_told(pipe):
        ray = connected()
        with failure(ray):
            for message in _played(ray, shards, compute):
                pipe.send(message)


def _played(ray: Any, shards: Sequence[Shard], compute: PlayingCompute) -> Iterator[tuple[int, Progress | None]]:
    mailbox = Mailbox(ray)
    folders = {folder: pack_folder(ray, folder) for folder in {each for s in shards for each in _folders(s.play)}}
    play = ray.remote(num_cpus=compute.cpus, num_gpus=compute.gpus, max_retries=_RETRIES)(_play)
    asked = {
        play.remote(shard, _games(ray, shard.play), folders, compute.cpus, versions(), mailbox.slot(number)): number
        for number, shard in enumerate(shards)
    }
    while asked:
        played, _ = ray.wait([*asked], timeout=_POLL_SECONDS)
        yield from ((number, Progress(*progress)) for number, (_, *progress) in mailbox.new())
        for reference in played:
            number = asked.pop(reference)
            shards[number].put(ray.get(reference))
            yield number, None


def _folders(play: Play) -> Iterator[Path]:
    """What a play reads besides its games."""
    judge, ahead = play.choice and play.choice.judge, play.choice and play.choice.lookahead
    prm = play.valued_by and play.valued_by.prm
    yield from (each for each in (play.policy, play.demonstrations, play.placed_by, judge, prm) if each)
    if ahead and ahead.world:
        yield ahead.world


def _games(ray: Any, play: Play) -> Parcel:
    return pack(ray, {f"{i}/{game.path.name}": game.path for i, game in enumerate(play.games)})


def _moved(play: Play, places: Mapping[Path, Path], games: Path) -> Play:
    """The same play, its files in other places."""
    choice = play.choice
    if choice:
        ahead = choice.lookahead
        if ahead and ahead.world:
            ahead = replace(ahead, world=places[ahead.world])
        choice = replace(choice, judge=places[choice.judge], lookahead=ahead)
    return replace(
        play,
        policy=places[play.policy],
        demonstrations=play.demonstrations and places[play.demonstrations],
        placed_by=play.placed_by and places[play.placed_by],
        choice=choice,
        valued_by=play.valued_by and replace(play.valued_by, prm=places[play.valued_by.prm]),
        games=tuple(replace(game, path=games / str(i) / game.path.name) for i, game in enumerate(play.games)),
    )


def _play(
    shard: Shard, games: Parcel, folders: Mapping[Path, Parcel], threads: int, wanted: dict[str, str], slot: Any
) -> dict[str, bytes]:
    """On a node: the files of a shard that was played."""
    import ray
    import torch

    require_versions(wanted)
    torch.set_num_threads(threads)
    places = {folder: unpacked(ray, folders[folder]) for folder in _folders(shard.play)}
    with tempfile.TemporaryDirectory() as scratch:
        here = Shard(_moved(shard.play, places, unpacked(ray, games)), Path(scratch) / "played", shard.compared)
        play_shard(here, SlotMonitor(slot))
        return {path.name: path.read_bytes() for path in here.out.iterdir()}
