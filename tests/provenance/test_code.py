"""Which code counts: what an asset's module reaches by import, byte for byte, and nothing else."""

import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentprm_dagster.provenance import code
from agentprm_dagster.provenance.code import current_code, source_digest, source_files
from agentprm_dagster.provenance.environment import library_versions

REASONS = "agentprm_dagster.core.reasons"


def test_what_a_module_reaches_counts_and_plumbing_does_not() -> None:
    assert {REASONS, "agentprm_dagster.core.types"} <= source_files(REASONS).keys()
    assert all(path.suffix == ".py" and path.is_file() for path in source_files(REASONS).values())
    assert source_files("agentprm_dagster.provenance.store") == {}


@pytest.fixture
def house(tmp_path: Path, monkeypatch) -> Path:
    """A small package in place of ours: assets.a reaches core.b, core.c (inside a function), and plumbing."""
    files = {
        "assets/a.py": "import json\nfrom house.core import b\nfrom house.provenance.store import x\n",
        "assets/other.py": "",
        "core/b.py": "def f():\n    from house.core.c import name\n    import house.core.d\n",
        "core/c.py": "name = 1\n",
        "core/d.py": "from house.core.b import f\n",
        "core/unrelated.py": "",
        "provenance/store.py": "from house.core.unrelated import y\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def find_spec(name: str) -> SimpleNamespace | None:
        path = tmp_path.joinpath(*name.split(".")[1:]).with_suffix(".py")
        if not path.parent.is_dir():
            raise ModuleNotFoundError(name)
        return SimpleNamespace(origin=str(path)) if path.is_file() else None

    monkeypatch.setattr(code, "PACKAGE", "house")
    monkeypatch.setattr(code, "PLUMBING", ("house.provenance",))
    monkeypatch.setattr(code, "find_spec", find_spec)
    return tmp_path


def test_the_digest_follows_the_sources_reached_and_no_others(house: Path) -> None:
    before = source_digest("house.assets.a")
    assert sorted(source_files("house.assets.a")) == ["house.assets.a", *(f"house.core.{name}" for name in "bcd")]
    for name in ("assets/other.py", "core/unrelated.py", "provenance/store.py"):
        (house / name).write_text("# changed")
    assert source_digest("house.assets.a") == before
    (house / "core/c.py").write_text("name = 2\n")
    assert source_digest("house.assets.a") != before


@pytest.mark.parametrize("module", ["house.provenance.store", "house.assets.missing", "json"])
def test_a_module_that_makes_nothing_is_refused(house: Path, module: str) -> None:
    with pytest.raises(ValueError, match=module):
        source_digest(module)


def test_the_code_names_its_version() -> None:
    now = current_code(REASONS)
    assert now == current_code(REASONS)
    assert now.version == version("agentprm_dagster")


def test_outside_a_checkout_there_is_no_commit(monkeypatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    now = current_code(REASONS)
    assert (now.git_commit, now.dirty) == (None, None)


def test_in_a_checkout_the_commit_and_its_cleanness_are_recorded(monkeypatch) -> None:
    for status, dirty in (("", False), (" M a.py\n", True)):
        answers = {"ls-files": "code.py\n", "rev-parse": "abc\n", "status": status}

        def git(command: list[str], answers=answers, **_: object) -> SimpleNamespace:
            return SimpleNamespace(stdout=answers[command[3]])

        monkeypatch.setattr(subprocess, "run", git)
        now = current_code(REASONS)
        assert (now.git_commit, now.dirty) == ("abc", dirty)


def test_libraries_that_are_not_installed_are_absent(monkeypatch) -> None:
    monkeypatch.setattr("agentprm_dagster.provenance.environment.LIBRARIES", ("torch", "no_such_library"))
    versions = library_versions()
    assert versions["no_such_library"] == "absent"
    assert versions["torch"].startswith("2.")
