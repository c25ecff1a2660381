"""Makes the games of an experiment in its folder: the same bytes for the same settings and seed.

Half a second a game and processor, 150 kB each. A generation that was killed is gone on with by the next call.
"""

import hashlib
import json
import logging
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agentprm_dagster.envs.base import TasksCountError
from agentprm_dagster.envs.generated import generate_once
from agentprm_dagster.envs.textworld.plan import plans
from agentprm_dagster.envs.textworld.settings import Settings
from agentprm_dagster.workers import Worker

GAMES_FOLDER = "games"

_FORMAT = 1
_log = logging.getLogger(__name__)


def folder_name(settings: Settings, seed: int) -> str:
    """What to call the folder of games that these settings and this seed make: other games are called otherwise."""
    parameters = json.dumps(_parameters(settings, seed), sort_keys=True)
    return f"textworld-{seed}-{hashlib.sha256(parameters.encode()).hexdigest()[:12]}"


def generate_games(folder: Path, settings: Settings, seed: int) -> None:
    """Writes the games to `<folder>/games/<split>/<kind>/<number>.zip` and the parameters to `<folder>/generated.json`.

    The games appear all at once when the last is made; a call with the parameters already on record does nothing.

    Raises:
        TasksConflictError: the folder holds games made with other parameters, or games that were not made here.
        TasksCountError: there are not so many different games.
        WorkerError: TextWorld or its compiler failed.
    """
    generate_once(folder, GAMES_FOLDER, _parameters(settings, seed), partial(_make_all, settings, seed))


def _parameters(settings: Settings, seed: int) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "seed": seed,
        "settings": json.loads(settings.model_dump_json(exclude={"kind", "demonstrated"})),
        "textworld": version("textworld"),
    }


def _make_all(settings: Settings, seed: int, staging: Path) -> None:
    """Has a worker process make the games, and waits for it."""
    wanted = [*plans(settings, seed)]
    with closing(Worker("agentprm_dagster.envs.textworld.worker", {"PYTHONHASHSEED": "0"})) as worker:
        worker.send((staging, wanted))
        for made in range(1, len(wanted) + 1):
            if isinstance(reply := worker.receive(), TasksCountError):
                raise reply
            if made % 50 == 0:
                _log.info("made %d of %d TextWorld games", made, len(wanted))
