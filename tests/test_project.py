"""What stands beside the code: the lock."""

import tomllib
from pathlib import Path

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
