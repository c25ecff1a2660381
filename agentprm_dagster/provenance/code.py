"""Which code made an artifact.

What counts is what the asset's own module says to Python, and every module of this package that it reaches by import:
comments, docstrings and layout do not count. Two runs of one commit agree, from a checkout or from a wheel; an edit,
committed or not, makes exactly the stages that reach it be made again. Sources are read when this module is imported; a
stage whose sources were edited while it ran is not committed, as its worker processes may have imported the edit.
Plumbing does not count: it decides where things are kept and what they look like, not what they say (the settings that
a stage reads, and the games that it plays, are in the recipe themselves). The commit and whether the checkout was clean
are recorded for people.
"""

import ast
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

from agentprm_dagster.provenance.canonical import digest_of
from agentprm_dagster.provenance.manifest import Code

PACKAGE = "agentprm_dagster"
PLUMBING = (
    f"{PACKAGE}.cluster",
    f"{PACKAGE}.config",
    f"{PACKAGE}.garbage",
    f"{PACKAGE}.guard",
    f"{PACKAGE}.home",
    f"{PACKAGE}.iterations",
    f"{PACKAGE}.launch.on_ray",
    f"{PACKAGE}.launch.request",
    f"{PACKAGE}.provenance",
    f"{PACKAGE}.reports.chart",
    f"{PACKAGE}.reports.episode_page",
    f"{PACKAGE}.resources.artifacts",
    f"{PACKAGE}.resources.stages",
    f"{PACKAGE}.resources.tracker",
    f"{PACKAGE}.section",
    f"{PACKAGE}.stages.base_models",
    f"{PACKAGE}.stages.failures",
    f"{PACKAGE}.stages.materialization",
    f"{PACKAGE}.stages.monitor",
    f"{PACKAGE}.tracking",
    f"{PACKAGE}.workers",
)
"""Modules, and all below them, that no artifact depends on."""


def current_code(module: str, *chosen: str) -> Code:
    """The code of an asset's module (its `__name__`), and of modules that the settings have chosen."""
    commit, dirty = _checkout()
    return Code(version(PACKAGE), source_digest(module, *chosen), commit, dirty)


def source_digest(*modules: str) -> str:
    """Digest of the sources that some modules reach; ValueError for one that is not one of this package's stages."""
    sources = reached_sources(*modules)
    for module in modules:
        if module not in sources:
            raise ValueError(f"expected a module of {PACKAGE} that makes artifacts, got {module!r}")
    return digest_of({name: source.digest for name, source in sources.items()})


def edited_sources(*modules: str) -> list[str]:
    """What some modules reach and is no longer as it was when this process began."""
    reached = reached_sources(*modules).items()
    return [name for name, source in reached if _digest_now(source.path) != source.digest]


class Source(NamedTuple):
    """A module's source file as it was read."""

    path: Path
    digest: str
    """Of what it says to Python."""
    imports: tuple[str, ...]
    """Every name that might be an imported module, imports inside functions included."""


def reached_sources(*modules: str) -> dict[str, Source]:
    """The modules of this package that some of them reach by import, themselves included."""
    sources: dict[str, Source] = {}
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        if name not in sources and (source := _source(name)) is not None:
            sources[name] = source
            waiting.extend(source.imports)
    return sources


@cache
def _source(module: str) -> Source | None:
    """A module that counts, read once a process; None for plumbing, other packages, and names that are no module."""
    if module.split(".")[0] != PACKAGE or f"{module}.".startswith(tuple(f"{name}." for name in PLUMBING)):
        return None
    spec = _find(module)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    written = _read[path] if path in _read else path.read_bytes()
    return Source(path, _digest(written), tuple(_imports(ast.parse(written))))


_read: dict[Path, bytes] = {}


def read_sources() -> None:
    """Reads the package's files as they are now, so that what is written down is what this process imports."""
    _read.clear()
    for package in (PACKAGE, f"{PACKAGE}.assets", f"{PACKAGE}.resources"):
        for folder in _folders(package):
            _read.update({path: path.read_bytes() for path in Path(folder).rglob("*.py")})


def asset_modules() -> list[str]:
    """The names of the modules in the folder of assets, sorted."""
    return sorted(module.name for module in iter_modules(_folders(f"{PACKAGE}.assets")))


def _folders(package: str) -> Sequence[str]:
    spec = find_spec(package)
    return (spec.submodule_search_locations or ()) if spec else ()


@cache
def _digest(written: bytes) -> str:
    """Of a module without what Python does not act on; SyntaxError, ValueError where it is none."""
    tree = ast.parse(written)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [each for each in body if not _is_docstring(each)]  # type: ignore[attr-defined]
    return sha256(ast.unparse(tree).encode()).hexdigest()


def _is_docstring(node: ast.AST) -> bool:
    """Of a module, class or function, or of what was assigned before it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _digest_now(path: Path) -> str | None:
    """None where it is gone, or no Python at the moment."""
    try:
        return _digest(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _find(module: str) -> ModuleSpec | None:
    """Where a module lies. `importlib.util.find_spec` alone would import what is above it, and torch with that."""
    parent = module.rpartition(".")[0]
    if parent in ("", PACKAGE):
        return find_spec(module)
    above = _find(parent)
    if above is None or above.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(module, above.submodule_search_locations)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def changed_files(one: str, other: str, module: str) -> list[str]:
    """The files that a module reaches now and that differ between two commits; none where git does not know these."""
    top, changed = _git("rev-parse", "--show-toplevel"), _git("diff", "--name-only", one, other)
    if top is None or changed is None:
        return []
    reached = {source.path.resolve() for source in reached_sources(module).values()}
    return [path for path in changed.splitlines() if (Path(top) / path).resolve() in reached]


def checkout() -> str | None:
    """The commit that this code is checked out at, in words; None outside a checkout."""
    commit, dirty = _checkout()
    return f"{commit[:8]}{' with edits' if dirty else ''}" if commit else None


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


read_sources()
