"""What stands beside the code agrees with it: the lock, the hooks, how it is cited."""

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def locked() -> dict[str, str]:
    """The version of every package in requirements.lock."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    return {pin.name: next(iter(pin.specifier)).version for pin in pins}


def test_the_lock_has_all_that_is_asked_for() -> None:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    asked = [Requirement(line) for line in (*PROJECT["dependencies"], *extras)]
    versions = locked()
    unmet = [str(each) for each in asked if versions[each.name.lower().replace("_", "-")] not in each.specifier]
    assert not unmet, "call `make lock`"


def test_hooks_have_the_locks_ruff() -> None:
    (ruff, _) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert ruff["rev"] == f"v{locked()['ruff']}"


def test_it_is_cited_by_its_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["title"], citation["version"]) == (PROJECT["name"], PROJECT["version"])


def test_what_github_reads_is_yaml() -> None:
    for path in (ROOT / ".github").rglob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["name"], path
