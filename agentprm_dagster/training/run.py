"""Training as a program: python -m agentprm_dagster.training.run REQUEST.json [FOLDER].

REQUEST.json is a `launch.request.Request`, FOLDER where to write in place of what it says. Alone it trains in one
process, started by torchrun in several together. What it tells (`launch.told`) lies in the folder `told` beside the
request.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from agentprm_dagster.episodes.stage import Monitor, SilentMonitor, StageReport
from agentprm_dagster.garbage import look_rarely
from agentprm_dagster.guard import end_with
from agentprm_dagster.launch.gpus import gpus_used
from agentprm_dagster.launch.group import gathered, process_group
from agentprm_dagster.launch.ranks import is_first
from agentprm_dagster.launch.request import Request, RequestError, read_request
from agentprm_dagster.launch.told import TellingMonitor, Trained, tell_error, tell_trained, told_folder

PROGRAMS = "agentprm_dagster.programs"


def run(request: Request, monitor: Monitor) -> Trained:
    """Does what is asked for; of several processes the first tells the monitor of it.

    Raises:
        RequestError: there is no such program.
    """
    known = sorted(module.name for module in iter_modules(import_module(PROGRAMS).__path__))
    if request.program not in known:
        raise RequestError(f"program: expected one of {', '.join(known)}, got {request.program!r}")
    program = import_module(f"{PROGRAMS}.{request.program}")
    with process_group(request.training):
        with gpus_used() as used:
            report: StageReport = program.train(request, request.job(monitor if is_first() else SilentMonitor()))
        return Trained(report, gathered(used))


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    look_rarely()
    path, *out = map(Path, arguments)
    rank, told = int(os.environ.get("RANK", "0")), told_folder(path)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with(os.getppid())  # torchrun starts each in a session of its own
    try:
        request = read_request(path)
        for folder in (told, *out):
            folder.mkdir(parents=True, exist_ok=True)
        trained = run(request.model_copy(update={"out": out[0]}) if out else request, TellingMonitor(told))
    except RequestError as error:
        print(error, file=sys.stderr)
        _tell(told, rank, error)
        return 2
    except BaseException as error:
        _tell(told, rank, error)
        raise
    if rank == 0:
        tell_trained(told, trained)
        print(trained.report.preview)
    return 0


def _tell(told: Path, rank: int, error: BaseException) -> None:
    if told.is_dir():
        tell_error(told, rank, error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
