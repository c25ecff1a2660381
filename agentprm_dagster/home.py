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
# Runs start in the order in which they were launched, and one at a time where they need the same pool.
concurrency:
  pools:
    default_limit: 1
    granularity: run
run_monitoring:
  enabled: true
  start_timeout_seconds: 600
# A run whose process was killed goes on by itself; one whose stage failed waits for a person.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
freshness:
  enabled: true
"""


class HomeError(ValueError):
    """A variable of the environment that says something else than it should, as a home that is a file."""


def home() -> Path:
    """The home folder, absolute; it need not exist yet.

    Raises:
        HomeError: a part of its path is a file, or its name is no text in UTF-8, which databases are named by.
    """
    return _folder("AGENTPRM_HOME", environ.get("AGENTPRM_HOME", "").strip() or "~/.agentprm")


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


def artifacts_root() -> str:
    """Where artifacts and their manifests lie: AGENTPRM_STORE, a folder or a URI (`s3://bucket/folder`), else the home.

    Raises:
        HomeError: no folder can be there, the URI holds a password, or its filesystem is not known or not installed.
    """
    named = environ.get("AGENTPRM_STORE", "").strip()
    if "://" in named:
        return _uri("AGENTPRM_STORE", named)
    return str(_folder("AGENTPRM_STORE", named) if named else home() / "artifacts")


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


def _folder(variable: str, named: str) -> Path:
    try:
        place = Path(named).expanduser().absolute()
        str(place).encode()
        files = [part for part in (place, *place.parents) if part.exists() and not part.is_dir()]
    except (RuntimeError, UnicodeEncodeError, OSError) as error:
        raise HomeError(f"{variable}: expected the path of a folder, got {named[:200]!r} ({error})") from error
    if files:
        raise HomeError(f"{variable}: expected the path of a folder, got {place}, where {files[0]} is a file")
    return place


def _uri(variable: str, named: str) -> str:
    from fsspec import get_filesystem_class  # a tenth of a second

    scheme, _, rest = named.partition("://")
    if ":" in rest.rpartition("@")[0] or "?" in rest:  # manifests, MLflow and messages name the place
        raise HomeError(
            f"{variable}: expected a {scheme} URI without a password and without a query: credentials belong into the "
            "variables and files that the filesystem's own package reads, such as AWS_PROFILE"
        )
    try:
        get_filesystem_class(scheme)
    except ImportError as error:
        raise HomeError(f"{variable}: {named[:200]}: {error}, in the environment that runs agentprm") from error
    except ValueError as error:
        raise HomeError(f"{variable}: expected a URI as s3://bucket/folder, got {named[:200]!r}: {error}") from error
    return named
