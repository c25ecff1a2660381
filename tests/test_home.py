"""Everything that is made has one home, however the project is called."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import MlflowTracker
from fsspec.registry import known_implementations
from upath import UPath

from agentprm_dagster.commands.instance import open_instance
from agentprm_dagster.home import HomeError, artifacts_root, exposed, games_scratch_folder
from agentprm_dagster.home import home as home_folder
from agentprm_dagster.provenance.lock import held_folder

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds to import."""
    monkeypatch.setattr(MlflowTracker, "reconcile", lambda self, store: [])


def test_the_home_is_the_users_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AGENTPRM_HOME", raising=False)
    assert home_folder() == tmp_path / ".agentprm"
    monkeypatch.setenv("AGENTPRM_HOME", "~/other")
    assert home_folder() == tmp_path / "other"


def test_artifacts_are_in_the_home_unless_a_store_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    named = {"": f"{home}/artifacts", "~/store": f"{tmp_path}/store", "memory://bucket/store": "memory://bucket/store"}
    for store, root in named.items():
        monkeypatch.setenv("AGENTPRM_STORE", store)
        assert artifacts_root() == root
        assert ArtifactsResource().store().root == UPath(root)


STORES = {
    "/dev/null/store": "AGENTPRM_STORE: expected the path of a folder, got /dev/null/store, where /dev/null is a file",
    "nosuch://x": r"AGENTPRM_STORE: expected a URI as s3://bucket/folder, got 'nosuch://x': .*nosuch",
    "missing://x": r"AGENTPRM_STORE: missing://x: Install nosuchfs, in the environment that runs agentprm",
    "sftp://me:pass-one@host/x": "AGENTPRM_STORE: expected a sftp URI without a password and without a query",
    "s3://bucket/x?key=pass-one": "AGENTPRM_STORE: expected a s3 URI without a password and without a query",
}


@pytest.mark.parametrize("named", STORES)
def test_a_store_that_cannot_be_is_refused_and_its_password_is_not_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    missing = {"class": "nosuchfs.FileSystem", "err": "Install nosuchfs"}
    monkeypatch.setitem(known_implementations, "missing", missing)
    monkeypatch.setenv("AGENTPRM_STORE", named)
    with pytest.raises(HomeError, match=STORES[named]) as refused:
        ArtifactsResource().store()
    assert "pass-one" not in str(refused.value)


def test_what_is_made_in_it_is_for_this_user_alone(home: Path) -> None:
    home.mkdir()
    home.chmod(0o755)
    open_instance().dispose()
    assert oct(home.stat().st_mode & 0o777) == "0o755", "a folder that was there keeps its permissions"
    assert [path for path in home.rglob("*") if path.stat().st_mode & 0o077] == []
    assert exposed() == []


def test_an_older_home_that_others_can_look_into_is_told_of(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "journals").mkdir(parents=True)
    assert exposed() == [home / "journals"]
    open_instance().dispose()
    assert f"Other users of this machine can look into {home / 'journals'}: chmod -R go= " in capsys.readouterr().err
    home.chmod(0o700)
    assert exposed() == []


@pytest.mark.parametrize("other", ["/somewhere/else", None])
def test_a_dagster_home_of_the_users_is_not_used_and_that_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], other: str | None
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", other or str(home / "dagster"))
    with open_instance() as instance:
        assert instance.root_directory == str(home / "dagster")
    assert capsys.readouterr().err == (
        f"DAGSTER_HOME ({other}) is not used: Dagster's records are in {home / 'dagster'}\n" if other else ""
    )


def test_what_a_killed_process_needed_while_it_played_is_removed(home: Path) -> None:
    child = os.fork()
    if child == 0:
        with held_folder(games_scratch_folder()) as scratch:
            (scratch / "task0").mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with held_folder(games_scratch_folder()) as kept:
        open_instance().dispose()
        assert {path.name.removesuffix(".owner") for path in games_scratch_folder().iterdir()} == {kept.name}
    assert list(games_scratch_folder().iterdir()) == []


def test_make_names_no_home_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for inherited in ("AGENTPRM_HOME", "MAKEFLAGS"):
        monkeypatch.delenv(inherited, raising=False)
    command = ["make", "--silent", "--eval", 'told: ; @echo "$$AGENTPRM_HOME"', "told"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout == "\n"
