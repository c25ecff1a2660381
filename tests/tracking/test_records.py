"""Names that MLflow takes, and checkpoints as model versions, on a real SQLite store."""

from pathlib import Path

import mlflow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.utils.validation import _validate_batch_log_data

from agentprm_dagster.provenance.flat import flat
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.tracker import MlflowTracker
from agentprm_dagster.tracking.models import beside, checkpoint_folder, own_place, register_checkpoint
from agentprm_dagster.tracking.records import fitting_name
from agentprm_dagster.tracking.uri import tracking_uri
from toy import NullTracker
from tracked import CHECKPOINT, make, recipe_of

NAMES = st.text(st.sampled_from("ab./ :-_$=%\n\tü😀"), max_size=12) | st.text(max_size=400)


@settings(max_examples=50)
@given(NAMES)
def test_a_fitting_name_is_one_that_mlflow_takes(name: str) -> None:
    fitting = fitting_name(name)
    _validate_batch_log_data([Metric(fitting, 1.0, 0, 0)], [Param(fitting, "x")], [])
    assert fitting_name(fitting) == fitting


@settings(max_examples=50)
@given(st.lists(NAMES, unique=True, max_size=20))
def test_names_that_differ_stay_different(names: list[str]) -> None:
    assert len(set(map(fitting_name, names))) == len(names)


@pytest.mark.parametrize("name", ["prm.epochs", "valid_seen ReAct org/model:1 x best of 1", "member_0 loss", "a" * 250])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert fitting_name(name) == name


def test_settings_become_flat_parameters() -> None:
    assert flat({"a": {"b": 1, "c": {"d": None}}, "e": [1, "x"], "f": "text"}) == {
        "a.b": "1",
        "a.c.d": "null",
        "e": '[1, "x"]',
        "f": "text",
    }


def test_a_checkpoint_is_a_model_version_in_the_store_itself(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make(tracker, store, recipe_of(experiment))
    version = client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2")
    assert version.tags == {"digest": artifact.digest, "asset": "prm", "iteration": "2"}
    assert version.run_id == artifact.manifest.mlflow_run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    found = mlflow.artifacts.download_artifacts(f"models:/{experiment}-prm@iteration-2")
    assert Path(found) == artifact.path / "model"
    assert store.resolve(artifact.as_input("prm")) == artifact


def test_policies_of_all_iterations_are_versions_of_one_model(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    initial = make(tracker, store, recipe_of(experiment, "initial_policy", 0))
    improved = make(tracker, store, recipe_of(experiment, "improved_policy", 1))
    name = f"{experiment}-policy"
    digests = [client.get_model_version_by_alias(name, f"iteration-{i}").tags["digest"] for i in (0, 1)]
    assert digests == [initial.digest, improved.digest]
    assert client.get_run(initial.manifest.mlflow_run_id).info.run_name == "initial_policy"


def test_the_same_checkpoint_is_registered_once_and_another_takes_the_alias(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    first = make(tracker, store, recipe_of(experiment))
    make(tracker, store, recipe_of(experiment))
    assert len(client.search_model_versions(f"name = '{experiment}-prm'")) == 1
    other = make(tracker, store, recipe_of(experiment), {**CHECKPOINT, "page.md": b"other"})
    assert client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2").tags["digest"] == other.digest
    assert len(client.search_model_versions(f"name = '{experiment}-prm'")) == 2
    register_checkpoint(client, first.manifest.mlflow_run_id, first, current=False)
    assert client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2").tags["digest"] == other.digest


@pytest.mark.parametrize(("folder", "source"), [("model", "/model"), (".", "")])
def test_a_remote_store_is_the_source_itself(
    client: MlflowClient, experiment: str, tmp_path: Path, folder: str, source: str
) -> None:
    store = ArtifactStore(f"memory://{experiment}", scratch=tmp_path)
    artifact = make(NullTracker(), store, recipe_of(experiment))
    assert own_place(client, artifact, folder) == artifact.uri + source


def test_what_another_machine_made_is_known_by_its_manifest_alone(experiment: str, tmp_path: Path) -> None:
    there, here = (ArtifactStore(f"memory://{experiment}", scratch=tmp_path / name) for name in ("there", "here"))
    policy = make(NullTracker(), there, recipe_of(experiment, "initial_policy", 0))
    evaluated = make(NullTracker(), here, recipe_of(experiment))
    found = beside(evaluated, policy.as_input("behaviour_policy"))
    assert (found.manifest, found.uri) == (policy.manifest, policy.uri)
    assert not found.path.exists()


def test_a_server_needs_a_copy_of_what_lies_on_this_machine(store: ArtifactStore, experiment: str) -> None:
    """A server takes no folder of this machine as a model's source (tried on MLflow 3.17.2)."""
    artifact = make(NullTracker(), store, recipe_of(experiment))
    assert own_place(MlflowClient("http://127.0.0.1:1"), artifact, "model") is None


def test_what_holds_no_checkpoint_is_no_model(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
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
    store: ArtifactStore, experiment: str, files: list[str], folder: str | None
) -> None:
    artifact = make(NullTracker(), store, recipe_of(experiment), dict.fromkeys(files, b"x"))
    assert checkpoint_folder(artifact.manifest) == folder
