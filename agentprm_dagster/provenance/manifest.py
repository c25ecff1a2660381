"""The record of one artifact: what was made, from which inputs, config, code and seeds, and the digest of every file.

Two digests name an artifact. `Recipe.key` is known before anything is computed and answers "has exactly this been made
already?". `Manifest.digest` adds the files and names the version. Both cover the asset, the iteration, the inputs'
digests, the config, the code and the seeds. Neither covers times, run ids, paths, library versions or the experiment's
name: the same recipe in another home, or under another name, gives the same digest.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from agentprm_dagster.episodes.stage import Gate
from agentprm_dagster.provenance.canonical import canonical, digest_of, seal, unseal
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.reproducible import Reproducible

MANIFEST = "manifest.json"
"""The manifest's file name in every version; written last, so a folder without one is no version."""

Schema = Literal["agentprm-manifest-2"]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"
Name = Annotated[str, Field(pattern=NAME)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


def _confined(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in path or PurePosixPath(path).as_posix() != path:
        raise ValueError(f"expected a plain relative path inside the artifact, got {path!r}")
    return path


GAMES_DIGEST = "games_digest"
"""What stands in a recipe's settings for the games that are played."""

NOT_FINITE = "not a finite number"
"""In the words of a page or a line, a metric that is None."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, order=True, config=_STRICT)
class AssetPartition:
    """What an asset is to make in one iteration, whichever version is made."""

    experiment: Name
    asset: Name
    iteration: Count
    """1..K; 0 for an asset without partitions."""

    @property
    def place(self) -> str:
        """Where its versions lie in a store, relative to the root."""
        return f"{self.experiment}/{self.asset}/{self.iteration}"

    def __str__(self) -> str:
        return f"{self.experiment}/{self.asset}[{self.iteration}]"


@dataclass(frozen=True, order=True, config=_STRICT)
class Version:
    """One version of one artifact."""

    experiment: Name
    asset: Name
    iteration: Count
    digest: Sha256

    @property
    def partition(self) -> AssetPartition:
        """What it is a version of."""
        return AssetPartition(self.experiment, self.asset, self.iteration)

    @property
    def place(self) -> str:
        """Where it lies in a store, relative to the root."""
        return f"{self.partition.place}/{self.digest[:16]}"

    def __str__(self) -> str:
        return f"{self.partition} {self.digest[:16]}"


@dataclass(frozen=True, config=_STRICT)
class Input:
    """An artifact that was read."""

    role: Name
    """What it was read as, e.g. `behaviour_policy`."""
    experiment: Name
    asset: Name
    """The asset that made it, e.g. `improved_policy`."""
    iteration: Count
    digest: Sha256

    @property
    def version(self) -> Version:
        """The artifact, whatever it was read as."""
        return Version(self.experiment, self.asset, self.iteration, self.digest)


@dataclass(frozen=True, config=_STRICT)
class FileEntry:
    """One file of an artifact."""

    path: Annotated[str, AfterValidator(_confined)]
    """Relative to the artifact, with forward slashes."""
    sha256: Sha256
    bytes: Count
    rows: Count | None
    """Rows of a parquet table; None for any other file."""


@dataclass(frozen=True, config=_STRICT)
class Code:
    """The code that made an artifact."""

    version: str
    """The package's version."""
    source: Sha256
    """Digest of the source files the asset's module reaches (provenance/code.py)."""
    git_commit: str | None
    """For people: the commit checked out; None outside a checkout."""
    dirty: bool | None
    """For people: whether the checkout held changes that were not committed."""

    @property
    def in_words(self) -> str | None:
        """The commit as a person names it; None outside a checkout."""
        return f"{self.git_commit[:8]}{' with edits' if self.dirty else ''}" if self.git_commit else None


@dataclass(frozen=True, config=_STRICT)
class Adoption:
    """How an artifact that another experiment has made came under this experiment's name."""

    origin: Version
    """The version whose files, numbers, run ids and times these are."""
    adopted: str
    """When; ISO 8601, UTC."""
    dagster_run_id: str | None
    """The run that took it over."""


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """Everything that decides what a stage makes, known before it starts."""

    experiment: Name
    asset: Name
    iteration: Count
    """1..K; 0 for an asset without partitions."""
    inputs: tuple[Input, ...]
    config: dict[str, JsonValue]
    """The settings this stage reads, resolved."""
    code: Code
    seeds: dict[str, int]

    @property
    def partition(self) -> AssetPartition:
        """What it is a recipe for."""
        return AssetPartition(self.experiment, self.asset, self.iteration)

    @property
    def key(self) -> str:
        """Digest of the recipe: equal keys ask for the same work."""
        return digest_of(
            {
                "asset": self.asset,
                "iteration": self.iteration,
                "inputs": sorted([made.role, made.digest] for made in self.inputs),
                "config": self.config,
                "code": [self.code.version, self.code.source],
                "seeds": self.seeds,
            }
        )

    def digest(self, files: Iterable[FileEntry]) -> str:
        """Digest of the version that this recipe and these files are."""
        listed = sorted([entry.path, entry.sha256, entry.bytes] for entry in files)
        return digest_of({"key": self.key, "files": listed})


@dataclass(frozen=True, config=_STRICT)
class Manifest:
    """The whole record of one version; `manifest.json` is its only copy."""

    schema: Schema
    asset: Name
    experiment: Name
    iteration: Count
    digest: Sha256
    """Names the version (`Recipe.digest`)."""
    key: Sha256
    """`Recipe.key`."""
    inputs: tuple[Input, ...]
    config: dict[str, JsonValue]
    config_digest: Sha256
    code: Code
    environment: dict[str, str]
    """Versions of Python and of the libraries, the processor and the type of its products (`environment.environment`),
    and what the stage used of its run's compute; what was played stands in `config` (`games_digest`)."""
    seeds: dict[str, int]
    files: tuple[FileEntry, ...]
    """Sorted by path."""
    metrics: dict[str, float | None]
    """By name; None for what was computed and is not a finite number."""
    gates: tuple[Gate, ...]
    dagster_run_id: str | None
    mlflow_run_id: str | None
    started: str
    """ISO 8601, UTC."""
    seconds: Annotated[float, Field(ge=0)]
    adopted: Adoption | None
    """None where it was made under this name; else run ids and times are those of when it was made."""
    reproducible: Reproducible | None = None
    """How far it can be made again (`reproducible.how_reproducible`); None where it was made before this was said."""

    @property
    def version(self) -> Version:
        """What this is the manifest of."""
        return Version(self.experiment, self.asset, self.iteration, self.digest)

    @property
    def recipe(self) -> Recipe:
        """What it was made from."""
        return Recipe(self.experiment, self.asset, self.iteration, self.inputs, self.config, self.code, self.seeds)

    @property
    def failed(self) -> str:
        """What the gates that did not pass say; empty if all did, but for those that only warn."""
        return "; ".join(gate.message for gate in self.gates if not (gate.passed or gate.warns))

    def faults(self) -> list[str]:
        """The digests in the manifest that do not follow from the rest of it."""
        expected = {
            "key": self.recipe.key,
            "config_digest": digest_of(self.config),
            "digest": self.recipe.digest(self.files),
        }
        return [name for name, digest in expected.items() if getattr(self, name) != digest]

    def to_json(self) -> str:
        """The sealed text of `manifest.json`."""
        return seal(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `to_json`'s text; ArtifactError for a changed byte, an unknown, missing or ill-typed key."""
        try:
            return TypeAdapter(cls).validate_json(canonical(unseal(text)))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ArtifactError(f"expected a manifest of schema {get_args(Schema)[0]}, but {problems}") from error
        except ValueError as error:
            raise ArtifactError(f"not a manifest: {error}") from error
