"""What a bundle is: which artifact lies in which of its folders, and the digest of every file; read as foreign input.

bundle.json        this record, sealed
README.md          what is in it, for people; one more in every folder of an artifact
policy/            pi_i as it lies in the store
reward_model/      what it was improved against
rollouts/          the episodes that both were made from
targets/           Eq. 1 over them, where the reward model has learnt targets
evaluation/        score rows, and the episodes that they count
lineage/           the manifest of each of these and of everything that they were made from
experiment.yaml    all settings
games.json         the digest of every game that was played
licences/          whose terms hold for what
requirements.lock  the versions that this project is tested with
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.provenance.canonical import canonical, seal, unseal
from agentprm_dagster.provenance.code import current_code
from agentprm_dagster.provenance.manifest import Code, FileEntry, Name, Version

BUNDLE, CARD = "bundle.json", "README.md"
SETTINGS, GAMES, LOCK = "experiment.yaml", "games.json", "requirements.lock"
LINEAGE, LICENCES = "lineage", "licences"
POLICY: Final = "policy"
REWARD: Final = "reward_model"
ROLLOUTS: Final = "rollouts"
TARGETS: Final = "targets"
EVALUATION: Final = "evaluation"

WRITER = "agentprm_dagster.bundles.export"
"""The module whose code a bundle names."""

Format = Literal["agentprm-bundle-1"]
Part = Literal["policy", "reward_model", "rollouts", "targets", "evaluation"]
"""A folder that holds an artifact."""

HUB_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
"""What a user or an organisation may be called on the Hugging Face hub."""

MOST_BYTES = 64 * 2**20
"""How large a JSON file of a bundle may be."""
MOST_FILES = 100_000

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class Bundle:
    """What `bundle.json` says."""

    format: Format
    experiment: Name
    iteration: Annotated[int, Field(ge=1, le=1000)]
    hub: Annotated[str, Field(pattern=HUB_NAME)] | None
    """The user or organisation on the Hugging Face hub under whose name the cards link to each other."""
    exported_by: Code
    """The code that wrote the bundle (`WRITER` and what it reaches)."""
    contents: dict[Part, Version]
    """Which artifact lies in which folder."""
    files: Annotated[tuple[FileEntry, ...], Field(max_length=MOST_FILES)]
    """Every other file, by path."""

    @property
    def parts(self) -> list[tuple[Part, Version]]:
        """`contents`, the policy first."""
        return [(part, self.contents[part]) for part in get_args(Part) if part in self.contents]

    @property
    def by_this_code(self) -> bool:
        """Whether the code that wrote the bundle words cards and reports as this one does."""
        return self.exported_by.source == current_code(WRITER).source

    def to_json(self) -> str:
        """The sealed text of `bundle.json`."""
        return seal(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `to_json`'s text; BundleError for a changed byte, an unknown, missing or ill-typed key."""
        try:
            return TypeAdapter(cls).validate_json(canonical(unseal(text)))
        except ValidationError as error:
            raise BundleError(f"expected {get_args(Format)[0]}, but {problems(error)}") from error
        except ValueError as error:
            raise BundleError(str(error)) from error


def read_record(folder: Path) -> Bundle:
    """The record of a bundle; BundleError where there is none, or it is not what one says."""
    try:
        record = Bundle.from_json(read_text(folder / BUNDLE))
    except BundleError as error:
        raise BundleError(f"{folder} is no bundle: {BUNDLE}: {error}") from error
    if missing := {POLICY, REWARD, ROLLOUTS, EVALUATION} - record.contents.keys():
        raise BundleError(f"{folder} is no bundle: {BUNDLE} names no {', '.join(sorted(missing))}")
    return record


def read_text(path: Path) -> str:
    """The text of a foreign file; BundleError where it is no plain file, too large or no text in UTF-8."""
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"expected a file {path.name}, found none")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise BundleError(f"{path.name}: expected at most {MOST_BYTES} bytes, got {size}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path.name}: expected text in UTF-8 ({error})") from error


def problems(error: ValidationError) -> str:
    """What is wrong with a foreign record, the first ten in a line."""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:10])
