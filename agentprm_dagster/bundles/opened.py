"""A bundle as checks and cards read it: every record parsed and validated, nothing of the tables yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.record import (
    EVALUATION,
    GAMES,
    LINEAGE,
    MOST_FILES,
    SETTINGS,
    Bundle,
    Part,
    problems,
    read_text,
)
from agentprm_dagster.bundles.rows import read_rows
from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import Settings, checked
from agentprm_dagster.config.strict_yaml import parse_yaml
from agentprm_dagster.envs.base import EnvironmentKind
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.manifest import Manifest, Sha256, Version

Games = Mapping[str, Mapping[str, str]]
"""By split, the digest of every game that was played, by its id; those of `train` are the games of the rollouts."""

TRAIN = "train"


@dataclass(frozen=True)
class Opened:
    """A bundle's folder and what its records say."""

    folder: Path
    record: Bundle
    manifests: Mapping[Version, Manifest]
    """Of the bundle's artifacts and of everything that they were made from."""
    experiment: Experiment
    games: Games
    rows: list[dict[str, Any]]
    """The score rows, in their order (`reports.evaluation.evaluation_row`)."""

    def manifest(self, part: Part) -> Manifest:
        """The manifest of the artifact in a folder."""
        return self.manifests[self.record.contents[part]]

    @property
    def kind(self) -> EnvironmentKind:
        """The kind of environment that was played."""
        return kind_of(self.experiment.environment.kind)


def open_bundle(folder: Path, record: Bundle) -> Opened:
    """Parses the records of a bundle.

    Raises:
        BundleError: one is missing or is none; names it.
        ExperimentError: the settings are not those of an experiment.
    """
    manifests = _manifests(folder)
    if missing := [f"{version}" for version in record.contents.values() if version not in manifests]:
        raise BundleError(f"{LINEAGE}/: no manifest of {', '.join(missing)}")
    return Opened(
        folder=folder,
        record=record,
        manifests=manifests,
        experiment=read_settings(folder / SETTINGS, record.experiment),
        games=_games(folder / GAMES),
        rows=read_rows(folder / EVALUATION),
    )


def read_settings(path: Path, name: str) -> Experiment:
    """The settings of a bundle, which name no other file; ExperimentError says which is wrong."""
    values, lines = _yaml(path)
    return checked(
        name, Settings(values, {place: f"{path.name}, line {line}" for place, line in lines.items()}), str(path)
    )


def _yaml(path: Path) -> tuple[dict[str, Any], dict[Any, int]]:
    from yaml import YAMLError

    try:
        values, lines = parse_yaml(read_text(path), path.name)
    except (YAMLError, RecursionError) as error:
        raise BundleError(f"{path.name} is not valid YAML: {error}") from error
    if not isinstance(values, dict) or "name" in values:
        raise BundleError(f"{path.name}: expected a mapping of settings without a name")
    return values, lines


def _manifests(folder: Path) -> dict[Version, Manifest]:
    """Every manifest that lies where its version belongs."""
    found = {}
    for path in sorted((folder / LINEAGE).rglob("*.json"))[:MOST_FILES]:
        place = path.relative_to(folder).as_posix()
        try:
            manifest = Manifest.from_json(read_text(path))
        except (ArtifactError, BundleError) as error:
            raise BundleError(f"{place}: {error}") from error
        if place != lineage_place(manifest.version):
            raise BundleError(f"{place}: expected it as {lineage_place(manifest.version)}")
        found[manifest.version] = manifest
    return found


def lineage_place(version: Version) -> str:
    """Where a version's manifest lies in a bundle."""
    return f"{LINEAGE}/{version.place}.json"


def _games(path: Path) -> Games:
    try:
        return TypeAdapter(dict[str, dict[str, Sha256]]).validate_json(read_text(path))
    except ValidationError as error:
        raise BundleError(f"{path.name}: expected the digests of games by split, but {problems(error)}") from error
