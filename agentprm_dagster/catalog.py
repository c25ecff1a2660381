"""Which experiments there are: YAML files, read and refused where they are wrong."""

from importlib import resources
from os import environ
from os.path import expanduser
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from agentprm_dagster.config import Experiment
from agentprm_dagster.problems import Places, in_lines
from agentprm_dagster.strict_yaml import Place, read_yaml


class ExperimentError(ValueError):
    """An experiment that is not there or not valid."""


def experiment_folders() -> list[Path]:
    """The package's own experiments, then the folders named by AGENTPRM_EXPERIMENTS (separated as in PATH)."""
    own = Path(str(resources.files("agentprm_dagster") / "experiments"))
    extra = environ.get("AGENTPRM_EXPERIMENTS", "")
    return [own, *(Path(expanduser(folder)) for folder in extra.split(":") if folder)]  # noqa: PTH111  # never fails


def experiment_files() -> dict[str, Path]:
    """Every experiment's file by name, hidden files left out; a name used twice is an error."""
    files: dict[str, Path] = {}
    for folder in experiment_folders():
        if not folder.is_dir():
            raise ExperimentError(f"AGENTPRM_EXPERIMENTS names {folder}, which is not a folder")
        for path in sorted(path for path in folder.glob("*.yaml") if not path.name.startswith(".")):
            if path.stem in files:
                raise ExperimentError(f"two experiments are called {path.stem}: {files[path.stem]} and {path}")
            files[path.stem] = path
    return files


def load_experiment(name: str) -> Experiment:
    """Reads and checks one experiment; ExperimentError says which key of which file is wrong, and how."""
    files = experiment_files()
    if name not in files:
        raise ExperimentError(f"no experiment {name!r}; there are: {', '.join(files)}")
    return read_experiment(files[name])


def read_experiment(path: Path) -> Experiment:
    """Reads and checks the experiment in a YAML file, named after the file."""
    values, places = _settings(path, ())
    try:
        return Experiment.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise ExperimentError(f"{path} is not a valid experiment:\n{in_lines(error, places)}") from error


def _of_yaml(path: Path) -> tuple[Any, dict[Place, int]]:
    if path.exists() and not path.is_file():
        raise ExperimentError(f"{path}: expected a file of settings, got something else of that name")
    try:
        return read_yaml(path)
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{path}: expected text in UTF-8, got other bytes ({error}): save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is not valid YAML: {error}") from error
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}") from error


def _settings(path: Path, extended_by: tuple[Path, ...]) -> tuple[dict[str, Any], Places]:
    """What a file says over what the experiment says that it `extends`, section by section, and where each is said."""
    if path in extended_by:
        raise ExperimentError(
            f"{' extends '.join(map(str, [*extended_by, path]))}: expected an experiment to begin with"
        )
    read, lines = _of_yaml(path)
    values = {} if read is None else read
    if not isinstance(values, dict):
        raise ExperimentError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    if "name" in values:
        raise ExperimentError(f"{path}: name: an experiment is named after its file, {path.stem}: leave it out")
    if "extends" not in values:
        return values, {place: (path, line) for place, line in lines.items()}
    extended, files = values.pop("extends"), experiment_files()
    if not isinstance(extended, str) or extended not in files:
        raise ExperimentError(f"{path}: extends: expected one of {', '.join(files)}, got {extended!r}")
    defaults, places = _settings(files[extended], (*extended_by, path))
    return _over(values, defaults), {**places, **{place: (path, line) for place, line in lines.items()}}


def _over(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    both = values.keys() & defaults.keys()
    sections = [name for name in both if isinstance(values[name], dict) and isinstance(defaults[name], dict)]
    return {**defaults, **values, **{name: _over(values[name], defaults[name]) for name in sections}}


def load_experiments() -> dict[str, Experiment]:
    """Every experiment there is, by name."""
    return {name: read_experiment(path) for name, path in experiment_files().items()}
