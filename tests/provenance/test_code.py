"""Which code counts: what an asset's module reaches by import, as Python reads it, and nothing else."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentprm_dagster.provenance import code
from agentprm_dagster.provenance.code import current_code, edited_sources, reached_sources, read_sources, source_digest
from agentprm_dagster.provenance.environment import environment

REASONS = "agentprm_dagster.envs.alfworld.reasons"


def test_what_a_module_reaches_counts_and_plumbing_does_not() -> None:
    assert {REASONS, "agentprm_dagster.episodes.records"} <= reached_sources(REASONS).keys()
    assert reached_sources("agentprm_dagster.provenance.store") == {}


def new_process() -> None:
    """Sources are read once a process."""
    read_sources()
    code._source.cache_clear()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small package in place of ours: assets.a reaches core.b, core.c (inside a function), and plumbing."""
    files = {
        "__init__.py": "",
        "assets/__init__.py": "",
        "assets/a.py": "import json\nfrom house.core import b\nfrom house.provenance.store import x\n",
        "assets/other.py": "",
        "core/__init__.py": "raise RuntimeError('reading the sources imported one')\n",
        "core/b.py": "def f():\n    from house.core.c import name\n    import house.core.d\n",
        "core/c.py": "name = 1\n",
        "core/d.py": "from house.core.b import f\n",
        "core/unrelated.py": "",
        "provenance/__init__.py": "",
        "provenance/store.py": "from house.core.unrelated import y\n",
    }
    for name, text in files.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code, "PACKAGE", "house")
    monkeypatch.setattr(code, "PLUMBING", ("house.provenance",))
    new_process()
    yield tmp_path / "house"
    new_process()
    sys.modules.pop("house", None)


def test_the_digest_follows_the_sources_reached_and_no_others(house: Path) -> None:
    before = source_digest("house.assets.a")
    reached = ["house.assets.a", "house.core", *(f"house.core.{name}" for name in "bcd")]
    assert sorted(reached_sources("house.assets.a")) == reached
    for name in ("assets/other.py", "core/unrelated.py", "provenance/store.py"):
        (house / name).write_text("# changed")
    new_process()
    assert source_digest("house.assets.a") == before
    (house / "core/c.py").write_text("name = 2\n")
    new_process()
    assert source_digest("house.assets.a") != before


WRITTEN_TWICE = (
    'name = 1\n\n\ndef f(x):\n    return {"a": x}\n\n\nclass C:\n    y: int = 2\n',
    '"""A module."""\n\nname = 1  # one\n"""What it is."""\n\ndef f(\n    x\n):\n    """A function."""\n'
    "    return {'a': x}\n\nclass C:\n    '''A class.'''\n    y: int = 2\n    'its attribute'\n",
)


def test_comments_docstrings_and_layout_do_not_count(house: Path) -> None:
    digests = []
    for text in (*WRITTEN_TWICE, WRITTEN_TWICE[0].replace('"a"', '"b"')):
        (house / "core/c.py").write_text(text)
        new_process()
        digests.append(source_digest("house.assets.a"))
    assert digests[0] == digests[1] != digests[2]
    (house / "core/c.py").write_text(WRITTEN_TWICE[0].replace('"a"', '"b"') + "# said aloud")
    assert edited_sources("house.assets.a") == []
    (house / "core/c.py").write_text("not Python")
    assert edited_sources("house.assets.a") == ["house.core.c"]


def test_an_edit_while_a_process_runs_is_not_what_it_runs_and_is_told(house: Path) -> None:
    read_sources()
    (house / "core/c.py").write_text("name = 2\n")
    (house / "core/unrelated.py").write_text("# changed")
    edited = source_digest("house.assets.a")
    assert edited_sources("house.assets.a") == ["house.core.c"]
    assert edited_sources("house.assets.other") == []
    (house / "core/c.py").write_text("name = 1\n")
    assert edited_sources("house.assets.a") == []
    (house / "core/d.py").unlink()
    assert edited_sources("house.assets.a") == ["house.core.d"]
    new_process()
    assert source_digest("house.assets.a") != edited


@pytest.mark.parametrize("module", ["house.provenance.store", "house.assets.missing", "json"])
def test_a_module_that_makes_nothing_is_refused(house: Path, module: str) -> None:
    with pytest.raises(ValueError, match=module):
        source_digest(module)


def test_the_code_names_its_version() -> None:
    now = current_code(REASONS)
    assert now == current_code(REASONS)
    assert now.version == version("agentprm_dagster")


def test_outside_a_checkout_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    now = current_code(REASONS)
    assert (now.git_commit, now.dirty) == (None, None)


def test_in_a_checkout_the_commit_and_its_cleanness_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    for status, dirty in (("", False), (" M a.py\n", True)):
        answers = {"ls-files": "code.py\n", "rev-parse": "abc\n", "status": status}

        def git(command: list[str], answers: dict[str, Any] = answers, **_: object) -> SimpleNamespace:
            return SimpleNamespace(stdout=answers[command[3]])

        monkeypatch.setattr(subprocess, "run", git)
        now = current_code(REASONS)
        assert (now.git_commit, now.dirty) == ("abc", dirty)


def test_libraries_that_are_not_installed_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentprm_dagster.provenance.environment.LIBRARIES", ("torch", "no_such_library"))
    versions = environment()
    assert versions["no_such_library"] == "absent"
    assert versions["torch"].startswith("2.")
