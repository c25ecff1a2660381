"""How long one waits before anything happens: the command line, Dagster's code location, a step's process."""

import multiprocessing
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import RUNS, Row, seconds, summarise

READY = "agentprm_dagster.improvement.online_dpo"
"""What the process of a training step has to import."""


def run() -> list[Row]:
    """Seconds; the limit is a Python that does nothing, the baseline of a step a process that imports all anew."""
    agentprm = str(Path(sys.executable).with_name("agentprm"))
    nothing = min(_of_command(sys.executable, "-c", "pass") for _ in range(RUNS))
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(["agentprm_dagster.definitions", "torch", "transformers"])
    _of_process(forked)  # starts the server
    spawned = multiprocessing.get_context("spawn")
    summary = partial(summarise, unit="s", limit=nothing, lower_is_better=True)
    return [
        summary("agentprm --help", pairs=[(_of_command(agentprm, "--help"), None) for _ in range(RUNS)]),
        summary(
            "Dagster's code location",
            pairs=[
                (_of_command(sys.executable, "-c", "import agentprm_dagster.definitions"), None) for _ in range(RUNS)
            ],
        ),
        summary("a training step's process", pairs=[(_of_process(forked), _of_process(spawned)) for _ in range(RUNS)]),
    ]


def _of_command(*command: str) -> float:
    return seconds(lambda: subprocess.run(command, check=True, capture_output=True))


def _of_process(context: multiprocessing.context.BaseContext) -> float:
    def start() -> None:
        process = context.Process(target=_get_ready)
        process.start()
        process.join()

    return seconds(start)


def _get_ready() -> None:
    __import__(READY)
