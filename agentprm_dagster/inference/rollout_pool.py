"""Rolls out in several worker processes and brings their episodes together, in the order of the games."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from agentprm_dagster.config import Experiment
from agentprm_dagster.core.stage import Monitor
from agentprm_dagster.core.tables import read_episodes
from agentprm_dagster.core.types import Episode
from agentprm_dagster.envs.games import GameRef
from agentprm_dagster.inference.rollout_worker import Shard, make_shards, write_job


class RolloutWorkerError(RuntimeError):
    """A worker process ended before its work was done."""


def roll_out_in_processes(
    checkpoint: Path,
    experiment: Experiment,
    games: Sequence[GameRef],
    *,
    processes: int,
    seed: int,
    scratch: Path,
    monitor: Monitor,
) -> list[Episode]:
    """All rollouts of an iteration; the result depends on the seed and not on the number of processes.

    Raises:
        RolloutWorkerError: a worker failed; the message ends with what it said.
    """
    shards = make_shards(games, seed, scratch)
    loads = [shards[first::processes] for first in range(min(processes, len(shards)))]
    workers = [_Worker(checkpoint, experiment, load, scratch / f"job{i}") for i, load in enumerate(loads)]
    try:
        for worker in workers:
            worker.follow(monitor if worker is workers[0] else None)
        for worker in workers:
            worker.finish()
    finally:
        for worker in workers:
            worker.stop()
    return [episode for shard in shards for episode in read_episodes(shard.out)]


class _Worker:
    """One worker process; it dies with its standard input, that is with this process at the latest."""

    def __init__(self, checkpoint: Path, experiment: Experiment, shards: Sequence[Shard], job: Path) -> None:
        job.parent.mkdir(parents=True, exist_ok=True)
        write_job(job.with_suffix(".json"), checkpoint, experiment, shards)
        self._log = job.with_suffix(".log")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "agentprm_dagster.inference.rollout_worker", str(job.with_suffix(".json"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def follow(self, monitor: Monitor | None) -> None:
        """Reads the worker's progress from now on; passes it on to a monitor, if one is given."""
        self._reader = threading.Thread(target=self._read, args=(monitor,), daemon=True)
        self._reader.start()

    def _read(self, monitor: Monitor | None) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if monitor is not None:
                told = json.loads(line)
                monitor.progress(told["done"], told["total"], told["what"])

    def finish(self) -> None:
        """Waits for the worker's end."""
        code = self._process.wait()
        self._reader.join()
        if code:
            said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RolloutWorkerError(f"a rollout worker ended with exit code {code}; expected 0. It said:\n{said}")

    def stop(self) -> None:
        """Ends the worker if it still runs."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
