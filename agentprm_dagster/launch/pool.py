"""Plays games in several worker processes and brings the episodes together, in the order of the games.

The games are cut into shards, each with a seed of its own, and a worker that is free takes the next shard: the number
of processes decides when a shard is played and not what comes of it.
"""

import json
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.launch.worker import PLAYED, Player, Shard, read_usage

SHARD_GAMES = 50
"""Most games of a shard: enough to keep the slots busy, few enough for several workers to share a split evenly."""

_END_SECONDS = 10.0
"""How long a worker that says nothing more may take to end."""


class WorkerError(RuntimeError):
    """A worker process ended before its work was done, or said what is no message."""


@dataclass(frozen=True)
class Task:
    """Games for one player."""

    name: str
    """Tells its progress from that of others; may be empty where there is no other."""
    player: Player
    games: tuple[TaskRef, ...]
    seed: int


@dataclass(frozen=True)
class Played:
    """What came of a task."""

    episodes: list[Episode]
    usage: Usage


def play_in_processes(
    tasks: Sequence[Task], *, processes: int, threads: int, scratch: Path, monitor: Monitor
) -> list[Played]:
    """What came of every task; `threads` are those of each process.

    `scratch` is a folder, made where it is missing; shards of the same tasks that were played there are not again.

    Raises:
        WorkerError: a worker failed; the message ends with what it said.
    """
    shards = [_shards(task, scratch / f"task{i}") for i, task in enumerate(tasks)]
    named = [(task.name, shard) for task, parts in zip(tasks, shards, strict=True) for shard in parts]
    left = [(name, shard) for name, shard in named if not shard.out.exists()]
    _play(left, min(processes, len(left)), threads, scratch, monitor)
    return [_together(parts) for parts in shards]


def _together(shards: Sequence[Shard]) -> Played:
    episodes = [episode for shard in shards for episode in read_episodes(shard.out)]
    return Played(episodes, sum((read_usage(shard.out) for shard in shards), Usage()))


def _shards(task: Task, folder: Path) -> list[Shard]:
    """Cuts a task's games into shards of about the same size and describes each in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-len(task.games) // SHARD_GAMES)
    cuts = [len(task.games) * i // max(count, 1) for i in range(count + 1)]
    shards = [
        Shard(task.player, task.games[first:last], task.seed + i, folder / f"{i:04d}")
        for i, (first, last) in enumerate(pairwise(cuts))
    ]
    for shard in shards:
        shard.write()
    return shards


def _play(named: Sequence[tuple[str, Shard]], processes: int, threads: int, scratch: Path, monitor: Monitor) -> None:
    """Hands the shards, each with its task's name, to workers until all are played."""
    waiting, left = iter(named), len(named)
    sums = _Sums(Counter(name for name, _ in named), monitor)
    heard: SimpleQueue[tuple[_Worker, Any]] = SimpleQueue()
    with ExitStack() as stack:
        for i in range(processes):
            worker = _Worker(threads, scratch / f"worker{i}.log", heard)
            stack.callback(worker.stop)
            worker.take(next(waiting))
        while left:
            worker, words = heard.get()
            if words is None:
                raise WorkerError(worker.last_words())
            if words != PLAYED:
                sums.progress(*worker.playing, **words)
                continue
            left -= 1
            if shard := next(waiting, None):
                worker.take(shard)


class _Worker:
    """One worker process; it dies with its standard input, that is with this process at the latest."""

    playing: tuple[str, Shard]

    def __init__(self, threads: int, log: Path, heard: "SimpleQueue[tuple[_Worker, Any]]") -> None:
        self._log, self._heard, self._end = log, heard, ""
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "agentprm_dagster.launch.worker", str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        """Passes on what the worker says, and None when it has ended or is not understood."""
        try:
            for line in self._stdout:
                self._heard.put((self, json.loads(line)))
        except json.JSONDecodeError as error:
            self._end = f"wrote {error.doc!r} to its standard output, where messages in JSON were expected"
        finally:
            self._heard.put((self, None))

    def take(self, shard: tuple[str, Shard]) -> None:
        """Gives it a shard to play."""
        self.playing = shard
        with suppress(BrokenPipeError):  # its end is heard of
            print(shard[1].path, file=self._stdin, flush=True)

    def last_words(self) -> str:
        """Why nothing more is heard of it, and the end of what it wrote to its standard error."""
        said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return f"a worker {self._end or self._how_it_ended()}; it said:\n{said}"

    def _how_it_ended(self) -> str:
        """With its exit code, where it has ended: its output may be closed before."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its standard output before its work was done"
        if code >= 0:
            return f"ended with exit code {code} before its work was done"
        no_memory = " (there may have been no memory left)" if code == -signal.SIGKILL else ""
        return f"was killed by {_signal_name(-code)}{no_memory} before its work was done"

    def stop(self) -> None:
        """Ends it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._stdout.close()
        with suppress(BrokenPipeError):
            self._stdin.close()


def _signal_name(number: int) -> str:
    """`SIGKILL`; `signal 35` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Sums:
    """Adds up what the shards of a task tell; those that have not told yet are taken to be like those that have."""

    def __init__(self, shards: Counter[str], monitor: Monitor) -> None:
        self._shards, self._monitor = shards, monitor
        self._told: defaultdict[tuple[str, str], dict[Path, tuple[int, int]]] = defaultdict(dict)

    def progress(self, name: str, shard: Shard, done: int, total: int, what: str) -> None:
        """What a shard of the task called `name` has told."""
        told = self._told[name, what]
        told[shard.out] = done, total
        everything = sum(total for _, total in told.values()) * self._shards[name] // len(told)
        self._monitor.progress(sum(done for done, _ in told.values()), everything, f"{name} {what}".strip())
