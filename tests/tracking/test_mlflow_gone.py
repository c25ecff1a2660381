"""A real MLflow server that is gone, hangs, refuses or comes back: the work goes on, and is told when it can be."""

from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from logging import LogRecord
from pathlib import Path

import mlflow
import pytest
from agentprm_dagster.resources import tracker as tracking
from agentprm_dagster.resources.tracker import MlflowTracker, TrackedRun
from mlflow import MlflowClient

from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.tracking import client as mlflow_client
from agentprm_dagster.tracking.client import Mlflow, TrackerError, behind, mlflow_at, within
from agentprm_dagster.tracking.sync import sync
from mlflow_servers import Door, Manner, mlflow_server
from tracked import METRICS, make, recipe_of, runs_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's own address."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def client(server: str) -> MlflowClient:
    """What asks the server itself."""
    return MlflowClient(server, server)


@pytest.fixture
def door(server: str, shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """An open door before the server, which the environment names, and little patience."""
    monkeypatch.setattr(mlflow_client, "PATIENCE", 0.5)
    monkeypatch.setattr(mlflow_client, "QUICK", 0.2)
    door = Door(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", door.url)
    behind().unlink(missing_ok=True)
    door.open()
    yield door
    door.shut()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience for a server that does answer, on a busy machine."""
    monkeypatch.setattr(mlflow_client, "PATIENCE", 60.0)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if ours(record)]


def ours(record: LogRecord) -> bool:
    return record.name.startswith("agentprm_dagster")


def test_gone_from_the_start_it_is_told_later(
    door: Door,
    patient: None,
    store: ArtifactStore,
    client: MlflowClient,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    door.shut()
    artifact = make(MlflowTracker(), store, recipe_of(experiment))
    (warning,) = warnings(caplog)
    assert "when starting a run for prm[2]" in warning
    assert door.url in warning
    assert artifact.manifest.mlflow_run_id is None
    door.open()
    MlflowTracker().reconcile(store)
    (run,) = runs_of(client, experiment)
    assert (run.info.status, run.data.metrics, run.data.tags["digest"]) == ("FINISHED", METRICS, artifact.digest)
    copy = mlflow.artifacts.download_artifacts(
        f"models:/{experiment}-prm@iteration-2", tracking_uri=client.tracking_uri
    )
    assert (Path(copy) / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("manner", ["hanging", "dripping"])
def test_hanging_from_the_start_it_is_asked_once(
    door: Door, store: ArtifactStore, experiment: str, caplog: pytest.LogCaptureFixture, manner: Manner
) -> None:
    door.manner = manner
    assert MlflowTracker().reconcile(store) == []
    artifact = make(MlflowTracker(), store, recipe_of(f"{experiment}-{manner}"))
    assert artifact.manifest.mlflow_run_id is None
    assert len(door.requests) == 1
    (warning,) = warnings(caplog)
    assert "no answer in time" in warning


def test_what_is_no_mlflow_server_is_said_to_be_none(
    door: Door, patient: None, store: ArtifactStore, experiment: str, caplog: pytest.LogCaptureFixture
) -> None:
    door.manner = "empty"
    assert make(MlflowTracker(), store, recipe_of(experiment)).manifest.mlflow_run_id is None
    (warning,) = warnings(caplog)
    assert "is that an MLflow server?" in warning
    assert sync(mlflow_at(door.url), store)["failed"]


def test_hanging_in_the_middle_it_is_asked_once_more(
    door: Door,
    patient: None,
    store: ArtifactStore,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 0.0)
    asked = []

    def work(run: TrackedRun) -> None:
        door.manner = "hanging"
        mlflow_at(door.url).patience = 0.5
        asked.append(len(door.requests))
        for step in range(10):
            run.metrics({"loss": 1.0}, step)

    make(MlflowTracker(), store, recipe_of(experiment), during=work)
    assert len(door.requests) == asked[0] + 1
    assert len(warnings(caplog)) == 1


def test_gone_in_the_middle_for_good_it_is_completed_later(
    door: Door,
    patient: None,
    store: ArtifactStore,
    client: MlflowClient,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    artifact = make(MlflowTracker(), store, recipe_of(experiment), during=lambda run: door.shut())
    assert len(warnings(caplog)) == 1
    assert [(run.info.status, run.data.metrics) for run in runs_of(client, experiment)] == [("RUNNING", {})]
    door.open()
    assert sync(mlflow_at(door.url), store)["completed"]
    (run,) = runs_of(client, experiment)
    assert run.info.run_id == artifact.manifest.mlflow_run_id
    assert (run.info.status, run.data.metrics, run.data.tags["digest"]) == ("FINISHED", METRICS, artifact.digest)
    assert client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2").run_id == run.info.run_id


def test_back_in_time_it_misses_nothing(
    door: Door,
    patient: None,
    store: ArtifactStore,
    client: MlflowClient,
    experiment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(tracking, "FLUSH_SHARE", 0.0)
    monkeypatch.setattr(mlflow_client, "QUICK", 60.0)

    def work(run: TrackedRun) -> None:
        door.shut()
        run.metrics({"loss": 3.0}, 1)
        door.open()
        run.metrics({"loss": 2.0}, 2)

    artifact = make(MlflowTracker(), store, recipe_of(experiment, iteration=1), during=work)
    run = client.get_run(artifact.manifest.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert {point.value for point in client.get_metric_history(run.info.run_id, "training/loss")} == {3.0, 2.0, 1.0}


def test_a_place_for_artifacts_that_cannot_be_written_leaves_no_run_behind(
    door: Door,
    patient: None,
    store: ArtifactStore,
    client: MlflowClient,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.create_experiment(experiment, artifact_location="file:///proc/elsewhere")
    artifact = make(MlflowTracker(), store, recipe_of(experiment))
    (warning,) = warnings(caplog)
    assert "when registering the model" in warning
    run = client.get_run(artifact.manifest.mlflow_run_id)
    assert (run.info.status, run.data.tags["digest"]) == ("FINISHED", artifact.digest)


def test_settings_that_a_server_refuses_are_made_acceptable(
    door: Door,
    patient: None,
    store: ArtifactStore,
    client: MlflowClient,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = {"$ref": "a=b", "": "", "x" * 300: "y" * 7000, **{f"p{i}": "\U0001f600" * 6000 for i in range(30)}}
    artifact = make(MlflowTracker(), store, recipe_of(experiment, config=config))
    run = client.get_run(artifact.manifest.mlflow_run_id)
    assert (run.info.status, len(run.data.params)) == ("FINISHED", len(config) + 1)
    assert warnings(caplog) == []


PASSWORDS = ["s3cret-word", "p@ss/wo?rd#", "%70%40ss w\u00f6rd"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_in_the_address_opens_the_door_and_is_never_seen(
    door: Door,
    patient: None,
    store: ArtifactStore,
    client: MlflowClient,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    password: str,
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    decoded = password.replace("%70%40", "p@")
    token = b64encode(f"alice:{decoded}".encode()).decode()
    door.password = f"Basic {token}"
    name = f"{experiment}-{PASSWORDS.index(password)}"
    tracker = MlflowTracker(uri=f"http://alice:{password}@127.0.0.1:{door.port}/")
    artifact = make(tracker, store, recipe_of(name))
    assert client.get_run(artifact.manifest.mlflow_run_id).info.status == "FINISHED"
    assert client.get_model_version_by_alias(f"{name}-prm", "iteration-2")
    assert tracker.url("abc").startswith(f"{door.url}/#/experiments/0/runs/abc?")
    door.password = "another"
    make(tracker, store, recipe_of(name, iteration=3))
    door.shut()
    make(tracker, store, recipe_of(name, iteration=4))
    with pytest.raises(TrackerError) as refused:
        sync(tracker.mlflow(), store)
    seen = "".join([*warnings(caplog), *capfd.readouterr(), str(refused.value), str(artifact.manifest)])
    assert "127.0.0.1" in seen
    for secret in (password, decoded, token):
        assert secret not in seen


def test_what_a_user_has_set_for_mlflow_stays(
    door: Door, store: ArtifactStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven retries, as MLflow has them itself: minutes, of which none are waited for."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    door.shut()
    assert make(MlflowTracker(), store, recipe_of(experiment)).manifest.mlflow_run_id is None
    assert mlflow.environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 7


def test_a_slow_failure_earns_a_rest_and_a_quick_one_none(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(mlflow_client, "monotonic", lambda: now)
    asked, place = [], Mlflow("http://127.0.0.1:1")

    def fail_after(seconds: float) -> bool:
        def fail(client: MlflowClient) -> None:
            nonlocal now
            asked.append(seconds)
            now += seconds
            raise OSError("gone")

        with pytest.raises(TrackerError) as failed:
            place.ask(fail)
        return failed.value.repeated

    assert [fail_after(0.5), fail_after(2.0), fail_after(9.0)] == [False, True, True]
    assert asked == [0.5, 2.0]
    now = 2.5 + 60.0
    assert fail_after(0.1)
    assert asked == [0.5, 2.0, 0.1]
    assert place.ask(lambda client: "back") == "back"
    assert not fail_after(0.1)


def raising(error: type[BaseException]) -> None:
    raise error


def test_work_that_raises_anything_raises_it_where_it_is_waited_for() -> None:
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            within(60.0, partial(raising, error))
