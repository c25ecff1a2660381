"""One home folder for everything that is made: AGENTPRM_HOME, else ~/.agentprm.

What is made in it is for this user alone: folders 0700, files 0600. A folder that was there before keeps its
permissions; `exposed` finds those.
"""

import stat
from math import inf, nan
from os import environ, umask
from pathlib import Path

from agentprm_dagster.episodes.stage import SAVE_SECONDS

_DAGSTER_YAML = """\
nux:
  enabled: false
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
run_monitoring:
  enabled: true
  start_timeout_seconds: 600
"""


class HomeError(ValueError):
    """A variable of the environment that says something else than it should, as a home that is a file."""


def home() -> Path:
    """The home folder, absolute; it need not exist yet.

    Raises:
        HomeError: a part of its path is a file, or its name is no text in UTF-8, which databases are named by.
    """
    named = environ.get("AGENTPRM_HOME", "").strip() or "~/.agentprm"
    try:
        place = Path(named).expanduser().absolute()
        str(place).encode()
        files = [part for part in (place, *place.parents) if part.exists() and not part.is_dir()]
    except (RuntimeError, UnicodeEncodeError, OSError) as error:
        raise HomeError(f"AGENTPRM_HOME: expected the path of a folder, got {named[:200]!r} ({error})") from error
    if files:
        raise HomeError(f"AGENTPRM_HOME: expected the path of a folder, got {place}, where {files[0]} is a file")
    return place


def save_seconds() -> float:
    """How often long work is saved (AGENTPRM_SAVE_SECONDS); 0 saves after every step.

    Raises:
        HomeError: it is not a number of seconds.
    """
    given = environ.get("AGENTPRM_SAVE_SECONDS") or str(SAVE_SECONDS)
    try:
        seconds = float(given)
    except ValueError:
        seconds = nan
    if not 0 <= seconds < inf:
        raise HomeError(f"AGENTPRM_SAVE_SECONDS: expected a number of seconds, 0 or more, got {given!r}")
    return seconds


def artifacts_folder() -> Path:
    """Where artifacts and their manifests lie."""
    return home() / "artifacts"


def experiments_folder() -> Path:
    """Where the experiments lie that were composed on the command line."""
    return home() / "experiments"


def games_folder() -> Path:
    """Where generated games lie."""
    return home() / "games"


def journals_folder() -> Path:
    """Where the answers of language models are kept, for good: an artifact made anew asks only what is not there."""
    return home() / "journals"


def checked_folder() -> Path:
    """Where it is remembered which pretrained models were tried and are computed exactly: one empty file each."""
    return home() / "checked"


def mlflow_folder() -> Path:
    """Where MLflow's database and files lie when MLFLOW_TRACKING_URI names no server."""
    return home() / "mlflow"


def scratch_folder() -> Path:
    """What is needed only while a stage runs, and copies of remote artifacts."""
    return home() / "scratch"


def games_scratch_folder() -> Path:
    """What the processes that play games are told and tell."""
    return scratch_folder() / "games"


def presence_folder() -> Path:
    """Files that running processes keep locked, so that other containers and machines know that they run."""
    return home() / "presence"


def dagster_folder() -> Path:
    """Dagster's own home, made with its settings where it is missing; a settings file once there is the user's."""
    folder = make_private(home() / "dagster")
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(_DAGSTER_YAML, encoding="utf-8")
    return folder


def write_privately() -> None:
    """Makes what this process writes from now on, and what the libraries write that it uses, for this user alone."""
    umask(0o077)


def make_private(folder: Path) -> Path:
    """Makes a folder, and those above it, for this user alone; one that is there keeps its permissions."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def exposed() -> list[Path]:
    """The folders directly in the home that other users can look into."""
    others = stat.S_IRWXG | stat.S_IRWXO
    if not home().is_dir() or not home().stat().st_mode & others:
        return []
    return [path for path in sorted(home().iterdir()) if path.is_dir() and path.stat().st_mode & others]
