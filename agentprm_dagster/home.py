"""One home folder for everything that is made: AGENTPRM_HOME, else ~/.agentprm."""

from os import environ
from pathlib import Path

_DAGSTER_YAML = """\
nux:
  enabled: false
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
"""


def home() -> Path:
    """The home folder, absolute; it need not exist yet."""
    return Path(environ.get("AGENTPRM_HOME") or "~/.agentprm").expanduser().absolute()


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
