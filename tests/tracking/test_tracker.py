"""MLflow's view of the stages, on a real SQLite store."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests
from agentprm_dagster.resources import tracker as tracking
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import MlflowTracker, TrackerResource
from mlflow import MlflowClient, MlflowException
from sqlalchemy.exc import OperationalError

from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.tracking.client import behind
from toy import NullTracker
from tracked import make, recipe_of, runs_of


def test_a_run_tells_what_was_made_from_what(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str, shared_home: Path
) -> None:
    data = make(tracker, store, recipe_of(experiment, "rollouts"), {"data.json": b"{}"})
    artifact = make(tracker, store, recipe_of(experiment, inputs=(data.as_input("rollouts"),)))
    assert artifact.manifest.mlflow_run_id
    run = client.get_run(artifact.manifest.mlflow_run_id)
    assert (run.info.run_name, run.info.status) == ("prm[2]", "FINISHED")
    assert run.data.params == {"prm.epochs": "3", "prm.init": "policy", "gates.max_kl": "20.0", "seeds.stage": "7"}
    expected = {
        "experiment": experiment,
        "asset": "prm",
        "iteration": "2",
        "dagster_run_id": "dagster-run",
        "digest": artifact.digest,
        "artifact": str(artifact.path),
        "key": artifact.manifest.key,
        "home": str(shared_home),
        "mlflow.source.git.commit": "deadbeef",
    }
    assert expected.items() <= run.data.tags.items()
    (read,) = run.inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.digest) == (f"{experiment}/rollouts[2]", data.digest[:36])
    assert json.loads(read.dataset.source) == {"uri": str(data.path)}
    assert {tag.key: tag.value for tag in read.tags} == {"mlflow.data.context": "rollouts", "digest": data.digest}
    where = client.get_experiment_by_name(experiment)
    assert where is not None
    assert where.artifact_location == (shared_home / "mlflow" / "artifacts" / experiment).as_uri()


def test_metrics_are_written_in_batches_and_all_of_them(
    tracker: MlflowTracker, client: MlflowClient, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    real = client.log_batch

    def log_batch(run_id: str, metrics: Sequence[Any] = (), **rest: Any) -> object:
        batches.append(len(metrics))
        return real(run_id, metrics, **rest)

    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 1e9)
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        monkeypatch.setattr(client, "log_batch", log_batch)
        for step in range(125):
            run.metrics({"loss": 1 / (step + 1), "lr": 0.1}, step)
    assert batches == [100, 100, 50]
    history = client.get_metric_history(run.id, "training/loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / (step + 1)) for step in range(125)]


def test_metrics_are_written_once_they_are_due_and_later_the_longer_it_takes(
    tracker: MlflowTracker, client: MlflowClient, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(tracking, "monotonic", lambda: now)

    def log_slowly(*arguments: Any, **rest: Any) -> None:
        nonlocal now
        now += 1.0
        real(*arguments, **rest)

    real = client.log_batch
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        monkeypatch.setattr(client, "log_batch", log_slowly)
        for step, at, written in ((1, 0.0, []), (2, 3.0, [1, 2]), (3, 33.9, [1, 2]), (4, 34.0, [1, 2, 3, 4])):
            now = at
            run.metrics({"loss": 1.0}, step)
            assert [point.step for point in client.get_metric_history(run.id, "training/loss")] == written


def test_what_is_no_finite_number_is_not_written_as_one(
    tracker: MlflowTracker, client: MlflowClient, experiment: str
) -> None:
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        run.metrics({"loss": float("nan"), "kl": float("inf"), "lr": 0.1}, 1)
    assert client.get_run(run.id).data.metrics == {"training/lr": 0.1}


STOPS = [
    (KeyboardInterrupt, "KILLED"), (dg.DagsterExecutionInterruptedError, "KILLED"), (SystemExit, "FAILED"),
    (ValueError, "FAILED"),
]  # fmt: skip


@pytest.mark.parametrize(("stop", "status"), STOPS)
def test_a_stage_that_fails_or_is_interrupted_has_such_a_run_with_its_metrics(
    tracker: MlflowTracker, client: MlflowClient, experiment: str, stop: type[BaseException], status: str
) -> None:
    with pytest.raises(stop), tracker.run(recipe_of(experiment), "dagster-run") as run:
        run.metrics({"loss": 1.0}, 1)
        raise stop
    assert client.get_run(run.id).info.status == status
    assert client.get_run(run.id).data.metrics == {"training/loss": 1.0}


ERRORS = [
    MlflowException("refused"),
    requests.ConnectionError("refused"),
    PermissionError("refused"),
    OperationalError("refused", None, Exception("locked")),
    RuntimeError("refused"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_inputs", "set_terminated", "create_model_version"])
def test_whatever_mlflow_raises_costs_one_warning_and_not_the_work(
    tracker: MlflowTracker,
    client: MlflowClient,
    store: ArtifactStore,
    experiment: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: str,
    error: Exception,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(client, call, refuse)
        artifact = make(tracker, store, recipe_of(f"{experiment}-{call}-{type(error).__name__}"))
    assert artifact.path.is_dir()
    (warning,) = (record for record in caplog.records if record.name.startswith("agentprm_dagster"))
    assert warning.levelno == logging.WARNING
    assert f"{type(error).__name__}: " in warning.message
    assert "refused" in warning.message
    assert behind().exists()
    run_id = artifact.manifest.mlflow_run_id
    if call == "create_run":
        assert run_id is None
    elif call != "set_terminated":
        assert client.get_run(run_id).info.status == "FINISHED"


def test_metrics_that_could_not_be_written_are_written_when_they_can(
    tracker: MlflowTracker, client: MlflowClient, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("gone")

    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(tracking, "FLUSH_SHARE", 0.0)
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        with monkeypatch.context() as patch:
            patch.setattr(client, "log_batch", refuse)
            run.metrics({"loss": 2.0}, 1)
        run.metrics({"loss": 1.0}, 2)
        assert [point.value for point in client.get_metric_history(run.id, "training/loss")] == [2.0, 1.0]


def test_only_so_many_metrics_wait(
    tracker: MlflowTracker, client: MlflowClient, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "KEPT_POINTS", 3)
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        for step in range(5):
            run.metrics({"loss": 1.0}, step)
    assert [point.step for point in client.get_metric_history(run.id, "training/loss")] == [2, 3, 4]


ODD: dict[str, Callable[[], dict[str, Any]]] = {
    "letters": lambda: {"llm": {"$ref": 1, "a=b": 2, "ü": 3, "": "", "a//b": 5, "..": 6, "/": 7, "\n": 8}},
    "long": lambda: {"x" * 300: 1, "y" * 300: 2, "prompt": "z" * 7000},
    "many": lambda: {f"p{i}": "\U0001f600" * 6000 for i in range(60)},
}


@pytest.mark.parametrize("kind", ODD)
def test_settings_that_mlflow_would_refuse_are_made_acceptable(
    tracker: MlflowTracker,
    client: MlflowClient,
    store: ArtifactStore,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    config = ODD[kind]()
    artifact = make(tracker, store, recipe_of(f"{experiment}-{kind}", config=config))
    run = client.get_run(artifact.manifest.mlflow_run_id)
    wanted = len(config["llm"]) if "llm" in config else len(config)
    assert (run.info.status, len(run.data.params)) == ("FINISHED", wanted + 1)
    assert not [record for record in caplog.records if record.name.startswith("agentprm_dagster")]


def test_metrics_of_any_name_are_written(tracker: MlflowTracker, client: MlflowClient, experiment: str) -> None:
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        run.metrics({"valid_seen ReAct a=b": 1.0, "$": 2.0, "plain": 3.0}, 1)
    written = client.get_run(run.id).data.metrics
    assert (written["training/plain"], sorted(written.values())) == (3.0, [1.0, 2.0, 3.0])


def test_an_experiment_deleted_in_the_ui_comes_back(
    tracker: MlflowTracker, client: MlflowClient, experiment: str
) -> None:
    for _ in range(2):
        with tracker.run(recipe_of(experiment), "dagster-run"):
            pass
        client.delete_experiment(client.get_experiment_by_name(experiment).experiment_id)
    assert client.get_experiment_by_name(experiment).lifecycle_stage == "deleted"
    assert runs_of(client, experiment) == []


def test_links_open_the_view_of_model_training_where_the_ui_listens(
    tracker: MlflowTracker, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "#/experiments/0/runs/abc?workflowType=machine_learning"
    assert tracker.url("abc") == f"http://127.0.0.1:5000/{page}"
    assert tracker.url(None) is None
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        where = tracker.mlflow().experiments[run.id]
        assert f"#/experiments/{where}/runs/{run.id}?" in tracker.url(run.id)
    monkeypatch.setenv("AGENTPRM_MLFLOW_URL", "http://127.0.0.1:5310/")
    assert tracker.url("abc") == f"http://127.0.0.1:5310/{page}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org/")
    assert tracker.url("abc") == f"https://mlflow.example.org/{page}"
    assert MlflowTracker(uri="sqlite:///x.db").url("abc") == f"http://127.0.0.1:5310/{page}"


@pytest.mark.parametrize("used", [NullTracker(), MlflowTracker()])
def test_an_asset_takes_either_tracker(used: TrackerResource, shared_home: Path) -> None:
    urls = []

    @dg.asset
    def thing(tracker: TrackerResource, artifacts: ArtifactsResource) -> None:
        urls.append((tracker.url("abc"), artifacts.store().root.name))

    assert dg.materialize([thing], resources={"tracker": used, "artifacts": ArtifactsResource()}).success
    assert urls == [(used.url("abc"), "artifacts")]
