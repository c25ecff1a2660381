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
    """A variable of the environment that says something else than it should."""


def home() -> Path:
    """The home folder, absolute; it need not exist yet."""
    return Path(environ.get("AGENTPRM_HOME") or "~/.agentprm").expanduser().absolute()


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
