"""Which experiments there are: YAML files, read and refused where they are wrong."""

import keyword
import re
from importlib import resources
from os import environ
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from agentprm_dagster.config import Experiment

RESERVED = frozenset(keyword.kwlist) | {
    "arg_dict", "bool", "conf", "config", "context", "dict", "float", "input", "input_arg_dict", "int", "meta",
    "output", "output_arg_dict", "str", "type",
}  # fmt: skip
"""Names that Dagster lets no job have; one of them would keep it from loading any experiment."""


class ExperimentError(ValueError):
    """An experiment that is not there or not valid."""


class _Loader(yaml.SafeLoader):
    """YAML where naming a key twice is an error, and 1e-3 a number, as in YAML 1.2 (in 1.1 it is text)."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value]
        for i, key in enumerate(keys):
            if any(key.value == earlier.value for earlier in keys[:i]):
                raise yaml.composer.ComposerError(
                    "in settings that begin", node.start_mark, f"{key.value!r} is named twice", key.start_mark
                )
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def experiment_folders() -> list[Path]:
    """The package's own experiments, then the folders named by AGENTPRM_EXPERIMENTS (separated as in PATH)."""
    own = Path(str(resources.files("agentprm_dagster") / "experiments"))
    extra = environ.get("AGENTPRM_EXPERIMENTS", "")
    return [own, *(Path(folder) for folder in extra.split(":") if folder)]


def experiment_files() -> dict[str, Path]:
    """Every experiment's file by name; of a name used twice, which no experiment can have, the first."""
    return {name: paths[0] for name, paths in _files().items()}


def load_experiment(name: str) -> Experiment:
    """Reads and checks one experiment; ExperimentError says which key of which file is wrong, and how."""
    return read_experiment(_file(name, f"no experiment {name!r}; there are: {', '.join(_files())}"))


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
    missing = [folder for folder in experiment_folders() if not folder.is_dir()]
    errors = [ExperimentError(f"AGENTPRM_EXPERIMENTS names {folder}, which is not a folder") for folder in missing]
    experiments = {}
    for name in _files():
        try:
            experiments[name] = load_experiment(name)
        except ExperimentError as error:
            errors.append(error)
    return Catalog(experiments, errors)


def _files() -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for folder in experiment_folders():
        for path in sorted(folder.glob("*.yaml")):
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
        raise ExperimentError(f"{path}: Dagster keeps the name {path.stem!r} for itself: rename the file")
    values = _settings(path, ())
    try:
        return Experiment.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        problems = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ExperimentError(f"{path} is not a valid experiment:\n{problems}") from error


def _settings(path: Path, extended_by: tuple[Path, ...]) -> dict[str, Any]:
    """What a file says over what the experiment says that it `extends`, section by section."""
    if path in extended_by:
        raise ExperimentError(
            f"{' extends '.join(map(str, [*extended_by, path]))}: expected an experiment to begin with"
        )
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except OSError as error:
        raise ExperimentError(f"{path}: expected a file that can be read, but: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{path}: expected text in UTF-8, got other bytes ({error}): save it as UTF-8") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ExperimentError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ExperimentError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    if "name" in values:
        raise ExperimentError(f"{path}: name: an experiment is named after its file, {path.stem}: leave it out")
    if "extends" not in values:
        return values
    extended = values.pop("extends")
    unknown = f"{path}: extends: expected one of {', '.join(_files())}, got {extended!r}"
    file = _file(extended if isinstance(extended, str) else "", unknown)
    return _over(values, _settings(file, (*extended_by, path)))


def _over(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    both = values.keys() & defaults.keys()
    sections = [name for name in both if isinstance(values[name], dict) and isinstance(defaults[name], dict)]
    return {**defaults, **values, **{name: _over(values[name], defaults[name]) for name in sections}}
