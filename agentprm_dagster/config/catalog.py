"""Which experiments, studies and computes there are: YAML files, read and refused where they are wrong.

An experiment names what differs from the defaults, or from the experiment that it `extends:` and the studies laid over
that, `with:`, in their order. A study is settings alone, which go over any experiment. A compute says where and how
experiments are computed, and names what differs from the defaults.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import resources
from os import environ
from os.path import expanduser
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from agentprm_dagster.config import Compute, Experiment
from agentprm_dagster.config.experiment import MOST_LETTERS, RESERVED
from agentprm_dagster.config.kinds import known_to_kinds
from agentprm_dagster.config.problems import Places, in_lines, shortened
from agentprm_dagster.config.strict_yaml import Place, read_yaml
from agentprm_dagster.home import experiments_folder

STUDIES = "studies"
"""The folder, within a folder of experiments, that holds studies."""

COMPUTES = "compute"
"""The folder, within a user's folder of experiments and within the package, that holds computes."""

DEFAULT_COMPUTE = "laptop"

_PACKAGE = Path(str(resources.files("agentprm_dagster")))


class ExperimentError(ValueError):
    """An experiment, a study or a compute that is not there or not valid."""


class Settings(NamedTuple):
    """What a file or a command line says."""

    values: dict[str, Any]
    places: Places

    def over(self, below: "Settings") -> "Settings":
        """These settings over others, section by section; a section of another kind takes the place of theirs.

        Of a section that names no kind, and so means the usual one, another kind keeps what it knows too.
        """
        left = known_to_kinds(self.values, below.values)
        return Settings(_over(self.values, left), {**below.places, **self.places})


def experiment_folders() -> list[Path]:
    """The package's own experiments, those composed in this home, and the folders that AGENTPRM_EXPERIMENTS names."""
    return [_PACKAGE / "experiments", *filter(Path.is_dir, [experiments_folder()]), *_named_folders()]


def _named_folders() -> list[Path]:
    """What AGENTPRM_EXPERIMENTS names, separated as in PATH."""
    folders = environ.get("AGENTPRM_EXPERIMENTS", "").split(":")
    return [Path(expanduser(folder)) for folder in folders if folder]  # noqa: PTH111  # never fails


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
    return _file(name, _unknown("no experiment", name))


def study_files() -> dict[str, Path]:
    """Every study's file by name; of a name used twice, which cannot be laid over anything, the first."""
    return {name: paths[0] for name, paths in _files(STUDIES).items()}


def require_study(name: str) -> Path:
    """The study's file, which is not read; ExperimentError if there is none of this name, or if there are two."""
    return _file(name, _unknown("--with: no study", name, STUDIES), STUDIES)


def load_experiment(name: str) -> Experiment:
    """Reads and checks one experiment; ExperimentError says which key of which file is wrong, and how."""
    return read_experiment(_file(name, _unknown("no experiment", name)))


def chosen_compute() -> str:
    """The compute that AGENTPRM_COMPUTE names: a name, or the path of a file."""
    return environ.get("AGENTPRM_COMPUTE") or DEFAULT_COMPUTE


def load_compute(name: str) -> Compute:
    """Reads and checks one compute, by its name or in the file of this path.

    Raises:
        ExperimentError: there is none, or a key of it is wrong: which, and how.
    """
    unknown = f"{_unknown('no compute', name, COMPUTES)}, or name a file: ./mine.yaml"
    is_path = "/" in name or name.endswith(".yaml")
    path = Path(expanduser(name)) if is_path else _file(name, unknown, COMPUTES)  # noqa: PTH111  # never fails
    settings = _said(path)
    try:
        return Compute.model_validate({"name": path.stem, **settings.values})
    except ValidationError as error:
        problems = in_lines(error, settings.places, Compute)
        raise ExperimentError(f"{path} is not a valid compute:\n{problems}") from error


class Catalog(NamedTuple):
    """All that is in the experiments' folders."""

    experiments: dict[str, Experiment]
    """By name."""
    errors: list[ExperimentError]
    """What is wrong with the files that are no experiments, and with the folders that AGENTPRM_EXPERIMENTS names."""


def load_catalog(names: Iterable[str] | None = None) -> Catalog:
    """Reads the experiments of these names, by default all that there are; one that is wrong keeps no other out."""
    errors, experiments = _missing_folders(), {}
    for name in _files() if names is None else names:
        try:
            experiments[name] = load_experiment(name)
        except ExperimentError as error:
            errors.append(error)
    return Catalog(experiments, errors)


def _missing_folders() -> list[ExperimentError]:
    missing = [folder for folder in _named_folders() if not folder.is_dir()]
    return [ExperimentError(f"AGENTPRM_EXPERIMENTS names {folder}, which is not a folder") for folder in missing]


def _files(within: str = ".") -> dict[str, list[Path]]:
    """The files of every experiment, or `within` STUDIES or COMPUTES of every one of these, by name, hidden files left
    out.
    """
    files: dict[str, list[Path]] = {}
    for folder in (*experiment_folders(), *([_PACKAGE] if within == COMPUTES else ())):
        for path in sorted(path for path in (folder / within).glob("*.yaml") if not path.name.startswith(".")):
            files.setdefault(path.stem, []).append(path)
    return files


def _unknown(what: str, name: str, within: str = ".") -> str:
    """That there is nothing of a name: those that are like it, else all that there are."""
    known = list(_files(within))
    close = get_close_matches(name.lower()[:MOST_LETTERS], known)
    there = f"nearest to it: {', '.join(close)}" if close else f"there are: {', '.join(known)}"
    return f"{what} {shortened(name)!r}; {there}"


def _file(name: object, unknown: str, within: str = ".") -> Path:
    """The one file of a name; ExperimentError with the words `unknown` if there is none, or if there are two."""
    paths = _files(within).get(name, []) if isinstance(name, str) else []
    if not paths:
        raise ExperimentError(unknown)
    if len(paths) > 1:
        kind = {STUDIES: "studies", COMPUTES: "computes"}.get(within, "experiments")
        raise ExperimentError(f"two {kind} are called {name}: {' and '.join(map(str, paths))}")
    return paths[0]


def read_experiment(path: Path) -> Experiment:
    """Reads and checks the experiment in a YAML file, named after the file."""
    if path.stem in RESERVED:
        raise ExperimentError(f"{path}: name: Dagster keeps {path.stem!r} for itself: rename the file")
    return checked(path.stem, _settings(path, ()), str(path))


def checked(name: str, settings: Settings, where: str) -> Experiment:
    """The experiment of settings that were read `where`; ExperimentError says what is wrong with which of them."""
    try:
        return Experiment.model_validate({"name": name, **settings.values})
    except ValidationError as error:
        raise ExperimentError(f"{where} is not a valid experiment:\n{in_lines(error, settings.places)}") from error


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


def _settings(path: Path, extended_by: tuple[Path, ...]) -> Settings:
    """What an experiment's file says over what it `extends`, and the studies that it names."""
    if path in extended_by:
        raise ExperimentError(
            f"{' extends '.join(map(str, [*extended_by, path]))}: expected an experiment to begin with"
        )
    return resolved(_said(path), str(path), (*extended_by, path))


def resolved(own: Settings, where: str, extended_by: tuple[Path, ...] = ()) -> Settings:
    """Settings over the experiment that they `extends`, with the studies that they name laid over that.

    Raises:
        ExperimentError: a file that is named is not there or cannot be read.
    """
    values, below = dict(own.values), Settings({}, {})
    if "extends" in values:
        extended = values.pop("extends")
        unknown = f"{where}: extends: expected one of {', '.join(_files())}, got {extended!r}"
        below = _settings(_file(extended, unknown), extended_by)
    studies = values.pop("with", [])
    for study in studies if isinstance(studies, list) else [studies]:
        unknown = f"{where}: with: expected one of {', '.join(_files(STUDIES))}, got {study!r}"
        below = _with_study(_file(study, unknown, STUDIES), below)
    return Settings(values, own.places).over(below)


def _with_study(path: Path, below: Settings) -> Settings:
    """A study laid over settings, its description behind theirs."""
    study = _said(path)
    if of_others := study.values.keys() & {"extends", "with", "seed"}:
        raise ExperimentError(f"{path}: {min(of_others)}: a study goes over any experiment: leave it out")
    both = study.over(below)
    texts = [str(each.values["description"]) for each in (below, study) if "description" in each.values]
    return Settings({**both.values, "description": " ".join(texts)}, both.places)


def _said(path: Path) -> Settings:
    read, lines = _of_yaml(path)
    values = {} if read is None else read
    if not isinstance(values, dict):
        raise ExperimentError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    if "name" in values:
        raise ExperimentError(f"{path}: name: it is named after its file, {path.stem}: leave it out")
    return Settings(values, {place: f"{path.name}, line {line}" for place, line in lines.items()})


def _over(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    both = values.keys() & defaults.keys()
    sections = [name for name in both if _same_kind(values[name], defaults[name])]
    return {**defaults, **values, **{name: _over(values[name], defaults[name]) for name in sections}}


def _same_kind(value: Any, default: Any) -> bool:
    """Whether both are sections, and not of two kinds that are named: settings of one kind say nothing of another."""
    if not (isinstance(value, dict) and isinstance(default, dict)):
        return False
    return "kind" not in default or value.get("kind", default["kind"]) == default["kind"]
