"""One home folder for everything that is made: AGENTPRM_HOME, else ~/.agentprm."""

from math import inf, nan
from os import environ
from pathlib import Path

from agentprm_dagster.core.stage import SAVE_SECONDS

_DAGSTER_YAML = """\
nux:
  enabled: false
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
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


def dagster_folder() -> Path:
    """Dagster's own home, made with its settings where it is missing; a settings file once there is the user's."""
    folder = home() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(_DAGSTER_YAML, encoding="utf-8")
    return folder
