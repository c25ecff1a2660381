"""Addresses as people may see them, and homes whose names are odd."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from typer.testing import CliRunner

from agentprm_dagster import cli
from agentprm_dagster.commands import doctor, ui
from agentprm_dagster.commands.ports import UiError
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import MlflowTracker
from agentprm_dagster.tracking.client import mlflow_at
from agentprm_dagster.tracking.uri import (
    DAGSTER_URL,
    MLFLOW_URL,
    credentials,
    hidden,
    is_server,
    masked,
    tracking_uri,
    without_credentials,
)
from tracked import make, recipe_of


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://host:5000", "http://host:5000"),
        ("https://alice:secret@host/mlflow", "https://***@host/mlflow"),
        ("https://secret@host", "https://***@host"),
        ("http://alice:s/ec@r#e?t@host:1/x", "http://***@host:1/x"),
        ("postgresql+psycopg2://alice:secret@host/db?sslmode=require", "postgresql+psycopg2://***@host/db?***"),
        ("postgresql://host/db?user=alice&password=secret", "postgresql://host/db?***"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("./mlruns", "./mlruns"),
    ],
)
def test_an_address_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert masked(uri) == shown
    words = hidden(f"no answer from {uri}", uri)
    assert not [secret for secret in ("secret", "s/ec@r#e?t") if secret in words]


def test_every_form_of_a_secret_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok-en")
    uri = "http://alice:p%40ss@host"
    assert hidden("alice:p%40ss p%40ss p@ss YWxpY2U6cEBzcw== tok-en host", uri) == "*** *** *** *** *** host"
    assert credentials(uri) == ("alice", "p@ss")
    assert credentials("http://host") == ("", "")


def test_a_link_has_neither_password_nor_query() -> None:
    assert without_credentials("https://alice:p@host/a/?token=x#y") == "https://host/a"
    assert [is_server(uri) for uri in ("HTTPS://host", "http://h", "sqlite:///x", "postgresql://h")] == [
        True, True, False, False
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a%20b", "a b#c?d&e=f", "\u00fc@%2F:'+\\"])
def test_a_home_of_any_name_works(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    home = tmp_path / name
    monkeypatch.setenv("AGENTPRM_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, home / "mlflow")
    artifact = make(MlflowTracker(), ArtifactsResource().store(), recipe_of("odd"))
    client = mlflow_at(tracking_uri()).ask(lambda client: client)
    assert client.get_run(artifact.manifest.mlflow_run_id).info.status == "FINISHED"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    assert Path(mlflow.artifacts.download_artifacts("models:/odd-prm@iteration-2")) == artifact.path / "model"
    client.log_text(artifact.manifest.mlflow_run_id, "hello", "a.txt")
    assert len(list((home / "mlflow" / "artifacts").rglob("a.txt"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in (home / "mlflow").iterdir()} == {"artifacts", "mlflow.db"}


def test_a_new_database_is_made_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_HOME", str(tmp_path / "a%20b"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow_at(tracking_uri()).ask(lambda client: client.get_experiment("0"))
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "a%20b", "a%20b/mlflow", "a%20b/mlflow/mlflow.db"
    ]  # fmt: skip


SECRET = "postgresql://alice:hunter2@127.0.0.1:1/db"


def test_the_doctor_shows_no_password(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRET)
    (found,) = (finding for finding in doctor._home() if finding.topic == "mlflow store")
    assert found.found == "postgresql://***@127.0.0.1:1/db"


def test_programs_are_given_no_password_among_their_arguments(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = {}

    @contextmanager
    def running(commands: dict[str, list[str]], *_: object, **__: object) -> Iterator[None]:
        started.update(commands)
        started["environment"] = [os.environ["MLFLOW_BACKEND_STORE_URI"]]
        raise UiError("enough")
        yield

    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRET)
    for name in ("MLFLOW_BACKEND_STORE_URI", DAGSTER_URL, MLFLOW_URL):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(MlflowTracker, "reconcile", lambda self, store: [])
    monkeypatch.setattr(ui, "running", running)
    with pytest.raises(UiError, match="enough"):
        ui.serve(1, 2)
    assert started.pop("environment") == [SECRET]
    assert "mlflow" in started
    assert "hunter2" not in str(started)


def test_a_database_that_is_gone_costs_a_command_its_patience_and_no_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No driver for it is installed here, so MLflow's client itself is what fails."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRET)
    store = ArtifactsResource().store()
    assert MlflowTracker().reconcile(store) == []
    assert make(MlflowTracker(), store, recipe_of("gone")).manifest.mlflow_run_id is None
    assert len([record for record in caplog.records if record.name.startswith("agentprm_dagster")]) == 1
    assert "hunter2" not in caplog.text


def test_a_database_that_is_damaged_is_said_to_be(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "mlflow").mkdir(parents=True)
    (home / "mlflow" / "mlflow.db").write_bytes(b"garbage" * 1000)
    assert make(MlflowTracker(), ArtifactsResource().store(), recipe_of("damaged")).path.is_dir()
    assert "file is not a database" in caplog.text


def test_the_command_tells_what_it_wrote(
    tmp_path: Path, empty_database: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, home / "mlflow")
    result = CliRunner().invoke(cli.app, ["mlflow", "sync"])
    assert result.exit_code == 0
    assert "nothing to tell" in result.output
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRET)
    result = CliRunner().invoke(cli.app, ["mlflow", "sync"])
    assert type(result.exception).__name__ == "TrackerError"
    assert "hunter2" not in str(result.exception)
