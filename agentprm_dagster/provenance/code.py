"""Which code made an artifact.

What counts is the source of the asset's own module and of every module of this package that it reaches by import, byte
for byte. Two runs of one commit agree, from a checkout or from a wheel; an edit, committed or not, makes exactly the
stages that reach it be made again. Plumbing does not count: it decides where things are kept, not what they say (and
the settings that a stage reads are in the recipe themselves). The commit and whether the checkout was clean are
recorded for people.
"""

import ast
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from agentprm_dagster.provenance.canonical import digest_of
from agentprm_dagster.provenance.contents import sha256_of
from agentprm_dagster.provenance.manifest import Code

PACKAGE = "agentprm_dagster"
PLUMBING = (
    f"{PACKAGE}.config",
    f"{PACKAGE}.home",
    f"{PACKAGE}.iterations",
    f"{PACKAGE}.provenance",
    f"{PACKAGE}.resources.artifacts",
    f"{PACKAGE}.resources.materialization",
    f"{PACKAGE}.resources.monitor",
    f"{PACKAGE}.resources.tracker",
)


def current_code(module: str) -> Code:
    """The code of an asset's module (its `__name__`) as it is on the disk now."""
    commit, dirty = _checkout()
    return Code(version(PACKAGE), source_digest(module), commit, dirty)


def source_digest(module: str) -> str:
    """Digest of the sources that `module` reaches; ValueError for a module that is not one of this package's stages."""
    files = source_files(module)
    if module not in files:
        raise ValueError(f"expected a module of {PACKAGE} that makes artifacts, got {module!r}")
    return digest_of({name: sha256_of(path) for name, path in files.items()})


def source_files(module: str) -> dict[str, Path]:
    """The modules of this package that `module` reaches by import, itself included, and their files."""
    files: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in files and (path := _source(name)) is not None:
            files[name] = path
            waiting.extend(_imports(path))
    return files


def _source(module: str) -> Path | None:
    """The file of a module that counts; None for plumbing, for other packages, and for names that are no module."""
    if module.split(".")[0] != PACKAGE or f"{module}.".startswith(tuple(f"{name}." for name in PLUMBING)):
        return None
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # the parent is a module, so this is a name inside it
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _imports(path: Path) -> Iterator[str]:
    """Every name that might be an imported module, imports inside functions included."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _checkout() -> tuple[str | None, bool | None]:
    """The commit and whether the checkout has changes; None, None where this file is not under git's care."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain"))


def _git(*arguments: str) -> str | None:
    """What git answers in this folder; None where it fails or is not installed."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None
