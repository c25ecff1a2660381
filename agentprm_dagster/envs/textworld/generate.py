"""Makes the games of an experiment in its folder: all of them or none, the same bytes for the same settings and seed.

Half a second a game and processor, 150 kB each. A generation that was killed is gone on with by the next call.
"""

import fcntl
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from agentprm_dagster.envs.base import TasksCountError
from agentprm_dagster.envs.textworld.plan import plans
from agentprm_dagster.envs.textworld.settings import Settings

RECORD_FILE = "generated.json"
GAMES_FOLDER = "games"

_FORMAT = 1
_STAGING = ".games.partial"
_log = logging.getLogger(__name__)


class GamesConflictError(ValueError):
    """A folder holds other games than those that were to be made in it."""


class MakerError(RuntimeError):
    """The process that makes games has failed."""


def folder_name(settings: Settings, seed: int) -> str:
    """What to call the folder of games that these settings and this seed make: other games are called otherwise."""
    parameters = json.dumps(_parameters(settings, seed), sort_keys=True)
    return f"textworld-{seed}-{hashlib.sha256(parameters.encode()).hexdigest()[:12]}"


def generate_games(folder: Path, settings: Settings, seed: int) -> None:
    """Writes the games to `<folder>/games/<split>/<kind>/<number>.zip` and the parameters to `<folder>/generated.json`.

    The games appear all at once when the last is made; a call with the parameters already on record does nothing.
    Where several processes ask at once, one makes them and the others wait.

    Raises:
        GamesConflictError: the folder holds games made with other parameters, or games that were not made here.
        TasksCountError: there are not so many different games.
        MakerError: TextWorld or its compiler failed.
    """
    parameters = _parameters(settings, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as lock:
        _claim(folder, parameters)
        if not (folder / GAMES_FOLDER).exists():
            _make_all(folder / _STAGING, settings, seed, lock)
            (folder / _STAGING).replace(folder / GAMES_FOLDER)


def _parameters(settings: Settings, seed: int) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "seed": seed,
        "settings": json.loads(settings.model_dump_json(exclude={"kind", "demonstrated"})),
        "textworld": version("textworld"),
    }


@contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    """Keeps a second process waiting, until the first one and its worker have ended."""
    with (folder / ".generate.lock").open("w") as file:
        with suppress(OSError):  # some network shares keep no locks: there it is for one process at a time
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _claim(folder: Path, parameters: Mapping[str, Any]) -> None:
    """Puts the parameters on record before the first game, or checks them against the record."""
    record = folder / RECORD_FILE
    if not record.exists():
        if (folder / GAMES_FOLDER).exists():
            games = folder / GAMES_FOLDER
            raise GamesConflictError(f"{games} holds games that were not made here; name another folder")
        partial = record.with_suffix(".partial")
        partial.write_text(_written(parameters))
        partial.replace(record)
    elif (made := record.read_text()) != _written(parameters):
        raise GamesConflictError(
            f"{folder} holds games made with {' '.join(made.split())}, asked for {json.dumps(parameters)}; name "
            "another folder, or remove this one"
        )


def _written(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, indent=2) + "\n"


def _make_all(staging: Path, settings: Settings, seed: int, lock: IO[str]) -> None:
    """Has a worker process make the games, and waits for it."""
    wanted = [asdict(plan) for plan in plans(settings, seed)]
    reply: dict[str, Any] = {}
    with tempfile.TemporaryFile() as stderr:
        worker = _start_worker(stderr, lock)
        with worker:
            assert worker.stdin and worker.stdout
            with suppress(BrokenPipeError):
                print(json.dumps({"folder": str(staging), "plans": wanted}), file=worker.stdin, flush=True)
            for made, line in enumerate(worker.stdout, 1):
                reply = json.loads(line)
                if "made" in reply and made % 50 == 0:
                    _log.info("made %d of %d TextWorld games", made, len(wanted))
        if "error" in reply:
            raise TasksCountError(reply["error"])
        if "done" not in reply:
            stderr.seek(0)
            words = stderr.read().decode(errors="replace").strip()[-2000:] or "none"
            raise MakerError(f"the process that makes games ended with {worker.returncode}, last words: {words}")


def _start_worker(stderr: IO[bytes], lock: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "agentprm_dagster.envs.textworld.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        env={**os.environ, "PYTHONHASHSEED": "0"},
        pass_fds=(lock.fileno(),),  # held as long as the worker lives, should this process die before it
    )
