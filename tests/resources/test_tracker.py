"""MLflow's view of the stages, on a real SQLite store."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import mlflow
import pytest
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Run

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Code, Input, Recipe
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources import tracker as tracking
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import (
    MlflowTracker,
    NullTracker,
    TrackerResource,
    checkpoint_folder,
    flat,
    mlflow_client,
    model_source,
    tracking_uri,
)

CODE = Code("0.1.0", "0" * 64, "deadbeef", False)
CHECKPOINT = {"model/config.json": b"{}", "model/model.safetensors": b"weights", "page.md": b"hello"}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home, so that MLflow's database is made once."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTPRM_HOME", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture
def tracker() -> MlflowTracker:
    return MlflowTracker()


@pytest.fixture
def client(home: Path) -> MlflowClient:
    return mlflow_client(tracking_uri())


@pytest.fixture
def store(home: Path) -> ArtifactStore:
    return ArtifactsResource().store()


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """Every test has an experiment of its own in the shared home."""
    return request.node.originalname[:90]


def recipe_of(experiment: str, asset: str = "prm", iteration: int = 2, inputs: tuple[Input, ...] = ()) -> Recipe:
    config = {"prm": {"epochs": 3, "init": "policy"}, "gates.max_kl": 20.0}
    return Recipe(experiment, asset, iteration, inputs, config, CODE, {"stage": 7})


def make(
    tracker: TrackerResource, store: ArtifactStore, recipe: Recipe, files: Mapping[str, bytes] = CHECKPOINT
) -> Artifact:
    with store.draft(recipe) as draft, tracker.run(recipe, "dagster-run") as run:
        for name, content in files.items():
            path = draft.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        run.metrics({"loss": 0.5}, step=1)
        artifact = draft.commit(metrics={"loss": 0.5}, mlflow_run_id=run.id)
        run.committed(artifact)
    return artifact


def runs_of(client: MlflowClient, experiment: str) -> list[Run]:
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []


def test_a_run_tells_what_was_made_from_what(tracker, client, store, experiment, home) -> None:
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
        "mlflow.source.git.commit": "deadbeef",
    }
    assert expected.items() <= run.data.tags.items()
    (read,) = run.inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.digest) == (f"{experiment}/rollouts[2]", data.digest[:36])
    assert json.loads(read.dataset.source) == {"uri": str(data.path)}
    assert {tag.key: tag.value for tag in read.tags} == {"mlflow.data.context": "rollouts", "digest": data.digest}
    where = client.get_experiment_by_name(experiment)
    assert where is not None
    assert where.artifact_location == (home / "mlflow" / "artifacts" / experiment).as_uri()


def test_metrics_are_written_in_batches_and_all_of_them(tracker, client, experiment, monkeypatch) -> None:
    batches: list[int] = []
    real = client.log_batch

    def log_batch(run_id: str, metrics: list = (), **rest: object) -> object:
        batches.append(len(metrics))
        return real(run_id, metrics, **rest)

    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 1e9)
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        monkeypatch.setattr(client, "log_batch", log_batch)
        for step in range(125):
            run.metrics({"loss": 1 / (step + 1), "lr": 0.1}, step)
        assert batches == [100, 100]
    assert batches == [100, 100, 50]
    history = client.get_metric_history(run.id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / (step + 1)) for step in range(125)]


def test_a_few_metrics_are_written_once_they_are_due(tracker, client, experiment, monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(tracking, "monotonic", lambda: now)
    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        run.metrics({"loss": 1.0}, 1)
        assert client.get_metric_history(run.id, "loss") == []
        now = tracking.FLUSH_SECONDS
        run.metrics({"loss": 1.0}, 2)
        assert [point.step for point in client.get_metric_history(run.id, "loss")] == [1, 2]


def test_a_stage_that_fails_has_a_failed_run_with_its_metrics(tracker, client, experiment) -> None:
    with pytest.raises(KeyboardInterrupt), tracker.run(recipe_of(experiment), "dagster-run") as run:
        run.metrics({"loss": 1.0}, 1)
        raise KeyboardInterrupt
    assert client.get_run(run.id).info.status == "FAILED"
    assert client.get_run(run.id).data.metrics == {"loss": 1.0}


def test_an_mlflow_that_fails_later_costs_a_warning_and_not_the_work(
    tracker, client, store, experiment, monkeypatch, caplog
) -> None:
    def down(*_: object, **__: object) -> None:
        raise MlflowException("the server is gone")

    with tracker.run(recipe_of(experiment), "dagster-run") as run:
        with monkeypatch.context() as patch:
            patch.setattr(client, "log_batch", down)
            run.metrics({f"m{i}": 0.0 for i in range(100)}, 1)
        assert "the server is gone" in caplog.text
    assert len(client.get_run(run.id).data.metrics) == 100
    monkeypatch.setattr(client, "set_tag", down)
    assert make(tracker, store, recipe_of(experiment)).path.is_dir()


def test_a_checkpoint_is_a_model_version_in_the_store_itself(tracker, client, store, experiment, monkeypatch) -> None:
    artifact = make(tracker, store, recipe_of(experiment))
    version = client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2")
    assert version.tags == {"digest": artifact.digest, "asset": "prm", "iteration": "2"}
    assert version.run_id == artifact.manifest.mlflow_run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    found = mlflow.artifacts.download_artifacts(f"models:/{experiment}-prm@iteration-2")
    assert Path(found) == artifact.path / "model"
    assert store.resolve(artifact.as_input("prm")) == artifact


def test_policies_of_all_iterations_are_versions_of_one_model(tracker, client, store, experiment) -> None:
    initial = make(tracker, store, recipe_of(experiment, "initial_policy", 0))
    improved = make(tracker, store, recipe_of(experiment, "improved_policy", 1))
    name = f"{experiment}-policy"
    digests = [client.get_model_version_by_alias(name, f"iteration-{i}").tags["digest"] for i in (0, 1)]
    assert digests == [initial.digest, improved.digest]
    assert client.get_run(initial.manifest.mlflow_run_id).info.run_name == "initial_policy"


def test_the_same_checkpoint_is_registered_once_and_another_takes_the_alias(tracker, client, store, experiment) -> None:
    first = make(tracker, store, recipe_of(experiment))
    make(tracker, store, recipe_of(experiment))
    assert len(client.search_model_versions(f"name = '{experiment}-prm'")) == 1
    other = make(tracker, store, recipe_of(experiment), {**CHECKPOINT, "page.md": b"other"})
    assert client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2").tags["digest"] == other.digest
    assert len(client.search_model_versions(f"name = '{experiment}-prm'")) == 2
    assert first.digest != other.digest


def test_a_server_is_sent_a_copy(tracker, store, experiment) -> None:
    """A server takes no folder of this machine as a model's source (tried on MLflow 3.17.2)."""
    artifact = make(NullTracker(), store, recipe_of(experiment))
    sent = []
    server = SimpleNamespace(
        tracking_uri="http://127.0.0.1:1",
        log_artifacts=lambda *arguments: sent.append(arguments),
        get_run=lambda _: SimpleNamespace(info=SimpleNamespace(artifact_uri="mlflow-artifacts:/1/run/artifacts")),
    )
    assert model_source(server, "run", artifact, "model") == "mlflow-artifacts:/1/run/artifacts/checkpoint"
    assert sent == [("run", str(artifact.path / "model"), "checkpoint")]


@pytest.mark.parametrize(("folder", "source"), [("model", "/model"), (".", "")])
def test_a_remote_store_is_the_source_itself(client, experiment, tmp_path, folder: str, source: str) -> None:
    store = ArtifactStore(f"memory://{experiment}", scratch=tmp_path)
    artifact = make(NullTracker(), store, recipe_of(experiment))
    assert model_source(client, "run", artifact, folder) == artifact.uri + source


def test_what_holds_no_checkpoint_is_no_model(tracker, client, store, experiment) -> None:
    make(tracker, store, recipe_of(experiment), {"config.json": b"{}", "weights/model.safetensors": b"x"})
    assert client.search_registered_models(f"name = '{experiment}-prm'") == []


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        (["config.json", "model.safetensors"], "."),
        (["a/config.json", "a/model-00001-of-00002.safetensors"], "a"),
        (["b/config.json", "b/x.safetensors", "a/c/config.json", "a/c/x.safetensors"], "b"),
        (["config.json", "adapter/model.safetensors"], None),
    ],
)
def test_the_checkpoint_is_the_outermost_folder_with_config_and_weights(
    store, experiment, files: list[str], folder: str | None
) -> None:
    artifact = make(NullTracker(), store, recipe_of(experiment), dict.fromkeys(files, b"x"))
    assert checkpoint_folder(artifact.manifest) == folder


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> None:
    """Runs in a child what ends with the child's death."""
    child = os.fork()
    if child == 0:
        work()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def test_reconcile_ends_the_runs_of_killed_processes(tracker, client, store, experiment) -> None:
    before, after = recipe_of(experiment, "prm", 1), recipe_of(experiment, "prm", 2)

    def die_before_the_commit() -> None:
        with tracker.run(before, "dagster-run"):
            kill_this_process()

    def die_after_the_commit() -> None:
        with store.draft(after) as draft, tracker.run(after, "dagster-run") as run:
            (draft.path / "config.json").write_text("{}")
            (draft.path / "model.safetensors").write_text("weights")
            draft.commit(metrics={}, mlflow_run_id=run.id)
            kill_this_process()

    killed(die_before_the_commit)
    killed(die_after_the_commit)
    with tracker.run(recipe_of(experiment, "prm", 3), "dagster-run"):
        assert {run.info.status for run in runs_of(client, experiment)} == {"RUNNING"}
        assert len(tracker.reconcile(store)) == 2
        statuses = {run.info.run_name: run.info.status for run in runs_of(client, experiment)}
    assert statuses == {"prm[1]": "KILLED", "prm[2]": "FINISHED", "prm[3]": "RUNNING"}
    artifact = store.current(experiment, "prm", 2)
    assert client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2").tags["digest"] == artifact.digest
    assert client.get_run(artifact.manifest.mlflow_run_id).data.tags["digest"] == artifact.digest
    assert tracker.reconcile(store) == []


def test_reconcile_leaves_alone_what_is_not_ours_or_elsewhere(tracker, client, store, experiment) -> None:
    number = client.create_experiment(experiment)
    elsewhere = Owner(1, "another-machine", "x", "x").to_json()
    for tags in ({}, {"owner": elsewhere, "experiment": experiment, "asset": "prm", "iteration": "1"}):
        client.create_run(number, tags=tags)
    assert tracker.reconcile(store) == []
    for run in runs_of(client, experiment):
        client.set_terminated(run.info.run_id)


def test_an_experiment_deleted_in_the_ui_comes_back(tracker, client, experiment) -> None:
    for _ in range(2):
        with tracker.run(recipe_of(experiment), "dagster-run"):
            pass
        client.delete_experiment(client.get_experiment_by_name(experiment).experiment_id)
    assert client.get_experiment_by_name(experiment).lifecycle_stage == "deleted"


def test_links(tracker, monkeypatch) -> None:
    assert tracker.url("abc") == "http://127.0.0.1:5000/#/runs/abc"
    assert tracker.url(None) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org/")
    assert tracker.url("abc") == "https://mlflow.example.org/#/runs/abc"
    assert MlflowTracker(uri="sqlite:///x.db").url("abc") == "http://127.0.0.1:5000/#/runs/abc"


def test_settings_become_flat_parameters() -> None:
    assert flat({"a": {"b": 1, "c": {"d": None}}, "e": [1, "x"], "f": "text"}) == {
        "a.b": "1",
        "a.c.d": "null",
        "e": '[1, "x"]',
        "f": "text",
    }


def test_the_null_tracker_does_the_same_and_keeps_nothing(store, experiment) -> None:
    artifact = make(NullTracker(), store, recipe_of(experiment))
    assert artifact.manifest.mlflow_run_id is None
    assert NullTracker().url(None) is None
    assert NullTracker().reconcile(store) == []


@pytest.mark.parametrize("used", [NullTracker(), MlflowTracker()])
def test_an_asset_takes_either_tracker(used: TrackerResource) -> None:
    urls = []

    @dg.asset
    def thing(tracker: TrackerResource, artifacts: ArtifactsResource) -> None:
        urls.append((tracker.url("abc"), artifacts.store().root.name))

    assert dg.materialize([thing], resources={"tracker": used, "artifacts": ArtifactsResource()}).success
    assert urls == [(used.url("abc"), "artifacts")]
