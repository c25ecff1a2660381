"""MLflow is brought up to what the manifests say, on a real SQLite store, and what is others' is left alone."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import mlflow
import pytest
from agentprm_dagster.resources.tracker import MlflowTracker, TrackedRun
from mlflow import MlflowClient, MlflowException

from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.tracking import sync as mlflow_sync
from agentprm_dagster.tracking.client import behind
from agentprm_dagster.tracking.sync import sync
from agentprm_dagster.tracking.uri import tracking_uri
from toy import NullTracker
from tracked import CHECKPOINT, METRICS, make, recipe_of, runs_of


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> None:
    """Runs in a child what ends with the child's death."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def test_the_runs_of_killed_processes_are_ended(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    before, after = recipe_of(experiment, "prm", 1), recipe_of(experiment, "prm", 2)

    def die_before_the_commit() -> None:
        with tracker.run(before, "dagster-run"):
            kill_this_process()

    def die_after_the_commit() -> None:
        with store.draft(after) as draft, tracker.run(after, "dagster-run") as run:
            (draft.path / "config.json").write_text("{}")
            (draft.path / "model.safetensors").write_text("weights")
            draft.commit(metrics=METRICS, mlflow_run_id=run.id)
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
    told = client.get_run(artifact.manifest.mlflow_run_id).data
    assert (told.tags["digest"], told.metrics) == (artifact.digest, METRICS)
    assert tracker.reconcile(store) == []


FOREIGN: dict[str, dict[str, str]] = {
    "none": {},
    "someone's": {"owner": "alice", "experiment": "x", "asset": "prm", "iteration": "1"},
    "JSON": {"owner": "{}", "experiment": "x", "asset": "prm", "iteration": "1"},
    "a list": {"owner": "[1]", "experiment": "x", "asset": "prm", "iteration": "1"},
    "empty": {"owner": "", "experiment": "", "asset": "", "iteration": ""},
    "no partition": {"owner": Owner(1, os.uname().nodename, "x", "x").to_json()},
    "odd partition": {
        "owner": Owner(1, os.uname().nodename, "x", "x").to_json(), "experiment": "../x", "asset": "prm",
        "iteration": "1",
    },
    "odd iteration": {
        "owner": Owner(1, os.uname().nodename, "x", "x").to_json(), "experiment": "x", "asset": "prm",
        "iteration": "one",
    },
    "another machine": {
        "owner": Owner(1, "another-machine", "x", "x").to_json(), "experiment": "x", "asset": "prm", "iteration": "1",
    },
    "another home": {
        "owner": Owner(1, os.uname().nodename, "x", "x").to_json(), "experiment": "x", "asset": "prm",
        "iteration": "1", "home": "/home/alice/.agentprm",
    },
}  # fmt: skip


def test_what_is_not_ours_is_left_alone_silently(
    tracker: MlflowTracker,
    client: MlflowClient,
    store: ArtifactStore,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for owner, tags in FOREIGN.items():
        client.create_run(client.create_experiment(f"{experiment} {owner}"), tags=tags)
    deleted = client.create_experiment(experiment)
    client.create_run(deleted, tags=FOREIGN["another home"] | {"home": ""})
    client.delete_experiment(deleted)
    assert tracker.reconcile(store) == []
    statuses = [run.info.status for owner in FOREIGN for run in runs_of(client, f"{experiment} {owner}")]
    assert statuses == ["RUNNING"] * len(FOREIGN)
    assert caplog.text == ""
    for owner in FOREIGN:
        for run in runs_of(client, f"{experiment} {owner}"):
            client.set_terminated(run.info.run_id)


def test_what_was_made_without_mlflow_is_written_down_when_a_command_starts(
    tracker: MlflowTracker,
    client: MlflowClient,
    store: ArtifactStore,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = make(NullTracker(), store, recipe_of(experiment, "rollouts"), {"data.json": b"{}"})
    artifact = make(NullTracker(), store, recipe_of(experiment, inputs=(data.as_input("rollouts"),)))
    behind().touch()
    assert tracker.reconcile(store) == []
    runs = {run.info.run_name: run for run in runs_of(client, experiment)}
    run, made = runs["prm[2]"], artifact.manifest
    assert runs.keys() == {"prm[2]", "rollouts[2]"}
    assert (run.info.status, run.data.metrics) == ("FINISHED", METRICS)
    assert run.data.params == {"prm.epochs": "3", "prm.init": "policy", "gates.max_kl": "20.0", "seeds.stage": "7"}
    begun = datetime.fromisoformat(made.started).timestamp()
    assert run.info.start_time == int(begun * 1000)
    assert run.info.end_time - run.info.start_time == int(made.seconds * 1000)
    assert [read.dataset.name for read in run.inputs.dataset_inputs] == [f"{experiment}/rollouts[2]"]
    tags = {"digest": made.digest, "key": made.key, "artifact": artifact.uri, "dagster_run_id": "dagster-run"}
    assert tags.items() <= run.data.tags.items()
    assert client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2").run_id == run.info.run_id
    assert "2 runs written" in caplog.text
    assert not behind().exists()


def test_writing_down_may_be_repeated(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    make(NullTracker(), store, recipe_of(experiment))
    done = [sync(tracker.mlflow(), store) for _ in range(3)]
    assert [each["written"] for each in done] == [1, 0, 0]
    assert [each["complete"] - done[0]["complete"] for each in done] == [0, 1, 1]
    assert len(runs_of(client, experiment)) == 1
    assert len(client.search_model_versions(f"name = '{experiment}-prm'")) == 1


def test_a_writer_that_was_killed_is_continued(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make(NullTracker(), store, recipe_of(experiment))

    def die_with_half_of_it_written() -> None:
        monkeypatch.setattr(mlflow_sync, "write_params", lambda *_: kill_this_process())
        sync(tracker.mlflow(), store)

    killed(die_with_half_of_it_written)
    assert [run.info.status for run in runs_of(client, experiment)] == ["RUNNING"]
    tracker.reconcile(store)
    (run,) = runs_of(client, experiment)
    assert (run.info.status, run.data.metrics, run.data.tags["artifact"]) == ("FINISHED", METRICS, artifact.uri)
    assert run.data.params["prm.epochs"] == "3"


def test_a_run_that_lost_mlflow_on_the_way_is_completed(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise MlflowException("gone")

    with monkeypatch.context() as patch:

        def lose(run: TrackedRun) -> None:
            for call in ("log_batch", "log_inputs", "set_terminated", "create_registered_model"):
                patch.setattr(client, call, gone)

        artifact = make(tracker, store, recipe_of(experiment), during=lose)
    assert [(run.info.status, run.data.metrics) for run in runs_of(client, experiment)] == [("RUNNING", {})]
    tracker.reconcile(store)
    (run,) = runs_of(client, experiment)
    assert run.info.run_id == artifact.manifest.mlflow_run_id
    assert (run.info.status, run.data.metrics, run.data.tags["digest"]) == ("FINISHED", METRICS, artifact.digest)
    assert run.data.params["prm.epochs"] == "3"
    assert client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2").tags["digest"] == artifact.digest


def test_what_another_mlflow_was_told_is_written_down_on_demand_alone(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make(tracker, store, recipe_of(experiment))
    number = client.get_experiment_by_name(experiment).experiment_id
    client.delete_experiment(number)
    client._tracking_client.store._hard_delete_experiment(number)  # as in an MLflow that never knew it
    behind().touch()
    tracker.reconcile(store)
    assert runs_of(client, experiment) == []
    assert sync(tracker.mlflow(), store)["written"] == 1
    (run,) = runs_of(client, experiment)
    assert run.data.tags["digest"] == artifact.digest


def test_what_a_person_deleted_stays_deleted(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    for asset in ("prm", "world_model"):
        make(NullTracker(), store, recipe_of(f"{experiment}-{asset}", asset))
    sync(tracker.mlflow(), store)
    (run,) = runs_of(client, f"{experiment}-prm")
    client.delete_run(run.info.run_id)
    client.delete_experiment(client.get_experiment_by_name(f"{experiment}-world_model").experiment_id)
    assert sync(tracker.mlflow(), store)["written"] == 0
    assert runs_of(client, f"{experiment}-prm") == []
    assert client.get_experiment_by_name(f"{experiment}-world_model").lifecycle_stage == "deleted"


def test_what_another_experiment_adopted_has_a_run_under_either_name(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    made = make(tracker, store, recipe_of(experiment))
    adopted = store.reuse(replace(recipe_of(experiment), experiment=f"{experiment}-2"))
    assert adopted is not None
    sync(tracker.mlflow(), store)
    runs = [run for name in (experiment, f"{experiment}-2") for run in runs_of(client, name)]
    assert [run.data.tags["artifact"] for run in runs] == [made.uri, adopted.uri]
    assert sync(tracker.mlflow(), store)["written"] == 0


def test_an_older_version_does_not_take_the_alias(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    first = make(NullTracker(), store, recipe_of(experiment))
    second = make(NullTracker(), store, recipe_of(experiment), {**CHECKPOINT, "page.md": b"other"})
    store.select(first)
    sync(tracker.mlflow(), store)
    versions = client.search_model_versions(f"name = '{experiment}-prm'")
    assert {version.tags["digest"] for version in versions} == {first.digest, second.digest}
    assert client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2").tags["digest"] == first.digest


def test_a_command_that_starts_writes_for_a_bounded_time(
    tracker: MlflowTracker,
    client: MlflowClient,
    store: ArtifactStore,
    experiment: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(NullTracker(), store, recipe_of(experiment))
    behind().touch()
    with monkeypatch.context() as patch:
        patch.setattr(mlflow_sync, "AUTOMATIC_SECONDS", -1.0)
        tracker.reconcile(store)
    assert "left for `agentprm mlflow sync`" in caplog.text
    assert runs_of(client, experiment) == []
    assert behind().exists()
    tracker.reconcile(store)
    assert len(runs_of(client, experiment)) == 1


def test_an_artifact_that_cannot_be_read_is_no_hindrance(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    broken = make(NullTracker(), store, recipe_of(experiment, "rollouts"))
    (broken.path / "manifest.json").chmod(0o644)
    (broken.path / "manifest.json").write_text("{")
    make(NullTracker(), store, recipe_of(experiment))
    assert sync(tracker.mlflow(), store)["written"] == 1
    shutil.rmtree(broken.path)


def test_a_home_that_moved_is_registered_under_its_new_place(
    tracker: MlflowTracker,
    client: MlflowClient,
    store: ArtifactStore,
    experiment: str,
    shared_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifact = make(tracker, store, recipe_of(experiment))
    moved = tmp_path / "moved"
    shutil.copytree(shared_home, moved)
    monkeypatch.setenv("AGENTPRM_HOME", str(moved))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    there, name = MlflowTracker(), f"{experiment}-prm"
    versions = len(store_versions(there, name))
    for _ in range(2):
        sync(there.mlflow(), ArtifactStore(moved / "artifacts"))
    assert len(store_versions(there, name)) == versions + 1
    found = mlflow.artifacts.download_artifacts(f"models:/{name}@iteration-2")
    assert Path(found) == moved / "artifacts" / artifact.version.place / "model"


def store_versions(tracker: MlflowTracker, name: str) -> list[object]:
    return list(tracker.mlflow().ask(lambda client: client.search_model_versions(f"name = '{name}'")))
