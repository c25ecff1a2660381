"""Worker processes of this machine that play shards, each the next one as soon as it is free."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from agentprm_dagster.launch.worker import Progress, Shard
from agentprm_dagster.workers import Worker, wait_for_any


@dataclass(frozen=True)
class Processes:
    """See `launch.pool.Players`."""

    count: int
    threads: int
    """Of each process."""

    def play(self, shards: Sequence[Shard]) -> Iterator[tuple[int, Progress | None]]:
        """See `launch.pool.Players`."""
        waiting = iter(enumerate(shards))
        playing: dict[Worker, int] = {}
        with ExitStack() as stack:
            processes = range(min(self.count, len(shards)))
            free = [stack.enter_context(closing(Worker("agentprm_dagster.launch.worker"))) for _ in processes]
            for worker in free:
                worker.send(self.threads)
            while True:
                for worker, (number, shard) in zip(free, waiting, strict=False):
                    worker.send(shard)
                    playing[worker] = number
                if not playing:
                    return
                free = []
                for worker in wait_for_any(playing):
                    progress: Progress | None = worker.receive()
                    yield playing[worker], progress
                    if progress is None:
                        del playing[worker]
                        free.append(worker)
