"""Which experiments there are: YAML files, read and refused where they are wrong."""

from importlib import resources
from os import environ
from os.path import expanduser
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.experiment import RESERVED
from agentprm_dagster.config.problems import Places, in_lines, shortened
from agentprm_dagster.config.strict_yaml import Place, read_yaml


class ExperimentError(ValueError):
    """An experiment that is not there or not valid."""


def experiment_folders() -> list[Path]:
    """The package's own experiments, then the folders named by AGENTPRM_EXPERIMENTS (separated as in PATH)."""
    own = Path(str(resources.files("agentprm_dagster") / "experiments"))
    extra = environ.get("AGENTPRM_EXPERIMENTS", "")
    return [own, *(Path(expanduser(folder)) for folder in extra.split(":") if folder)]  # noqa: PTH111  # never fails


def experiment_files() -> dict[str, Path]:
    """Every experiment's file by name; of a name used twice, which no experiment can have, the first."""
    return {name: paths[0] for name, paths in _files().items()}


def require_experiment(name: str) -> Path:
    """The experiment's file, which is not read.

    Raises:
        ExperimentError: there is none of this name, or there are two, or AGENTPRM_EXPERIMENTS names no folder.
    """
    if errors := _missing_folders():
        raise errors[0]
    return _file(name, f"no experiment {shortened(name)!r}; there are: {', '.join(_files())}")


def load_experiment(name: str) -> Experiment:
    """Reads and checks one experiment; ExperimentError says which key of which file is wrong, and how."""
    return read_experiment(_file(name, f"no experiment {shortened(name)!r}; there are: {', '.join(_files())}"))


def load_experiments() -> dict[str, Experiment]:
    """Every experiment that can be read, by name."""
    return load_catalog().experiments


class Catalog(NamedTuple):
    """All that is in the experiments' folders."""

    experiments: dict[str, Experiment]
    """By name."""
    errors: list[ExperimentError]
    """What is wrong with the files that are no experiments, and with the folders that AGENTPRM_EXPERIMENTS names."""


def load_catalog() -> Catalog:
    """Reads every experiment, which takes a second; one that is wrong keeps no other out."""
    errors, experiments = _missing_folders(), {}
    for name in _files():
        try:
            experiments[name] = load_experiment(name)
        except ExperimentError as error:
            errors.append(error)
    return Catalog(experiments, errors)


def _missing_folders() -> list[ExperimentError]:
    missing = [folder for folder in experiment_folders() if not folder.is_dir()]
    return [ExperimentError(f"AGENTPRM_EXPERIMENTS names {folder}, which is not a folder") for folder in missing]


def _files() -> dict[str, list[Path]]:
    """Every experiment's files by name, hidden files left out."""
    files: dict[str, list[Path]] = {}
    for folder in experiment_folders():
        for path in sorted(path for path in folder.glob("*.yaml") if not path.name.startswith(".")):
            files.setdefault(path.stem, []).append(path)
    return files


def _file(name: str, unknown: str) -> Path:
    """An experiment's file; ExperimentError with the words `unknown` if there is none, or if there are two."""
    paths = _files().get(name, [])
    if not paths:
        raise ExperimentError(unknown)
    if len(paths) > 1:
        raise ExperimentError(f"two experiments are called {name}: {' and '.join(map(str, paths))}")
    return paths[0]


def read_experiment(path: Path) -> Experiment:
    """Reads and checks the experiment in a YAML file, named after the file."""
    if path.stem in RESERVED:
        raise ExperimentError(f"{path}: name: Dagster keeps {path.stem!r} for itself: rename the file")
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
    except (yaml.YAMLError, RecursionError) as error:
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
    extended = values.pop("extends")
    unknown = f"{path}: extends: expected one of {', '.join(_files())}, got {extended!r}"
    file = _file(extended if isinstance(extended, str) else "", unknown)
    defaults, places = _settings(file, (*extended_by, path))
    return _over(values, defaults), {**places, **{place: (path, line) for place, line in lines.items()}}


def _over(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    both = values.keys() & defaults.keys()
    sections = [name for name in both if isinstance(values[name], dict) and isinstance(defaults[name], dict)]
    return {**defaults, **values, **{name: _over(values[name], defaults[name]) for name in sections}}
