"""Which experiments there are: YAML files, read and refused where they are wrong."""

from importlib import resources
from os import environ
from pathlib import Path

import yaml
from pydantic import ValidationError

from agentprm_dagster.config import Experiment


class ExperimentError(ValueError):
    """An experiment that is not there or not valid."""


def experiment_folders() -> list[Path]:
    """The package's own experiments, then the folders named by AGENTPRM_EXPERIMENTS (separated as in PATH)."""
    own = Path(str(resources.files("agentprm_dagster") / "experiments"))
    extra = environ.get("AGENTPRM_EXPERIMENTS", "")
    return [own, *(Path(folder) for folder in extra.split(":") if folder)]


def experiment_files() -> dict[str, Path]:
    """Every experiment's file by name; a name used twice is an error."""
    files: dict[str, Path] = {}
    for folder in experiment_folders():
        if not folder.is_dir():
            raise ExperimentError(f"AGENTPRM_EXPERIMENTS names {folder}, which is not a folder")
        for path in sorted(folder.glob("*.yaml")):
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
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ExperimentError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    try:
        return Experiment.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        problems = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ExperimentError(f"{path} is not a valid experiment:\n{problems}") from error


def load_experiments() -> dict[str, Experiment]:
    """Every experiment there is, by name."""
    return {name: read_experiment(path) for name, path in experiment_files().items()}
