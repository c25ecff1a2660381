"""A home for the tests of a module, with an MLflow database that is made once for all of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import MlflowTracker
from mlflow import MlflowClient

from agentprm_dagster.provenance.store import ArtifactStore


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, which take seconds to make."""
    folder = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTPRM_HOME", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        MlflowTracker().mlflow().ask(lambda client: client.get_experiment("0"))
    return folder / "mlflow" / "mlflow.db"


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Path]:
    """An AGENTPRM_HOME."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "mlflow").mkdir()
    shutil.copy(empty_database, folder / "mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTPRM_HOME", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture
def tracker(shared_home: Path) -> MlflowTracker:
    return MlflowTracker()


@pytest.fixture
def client(tracker: MlflowTracker) -> MlflowClient:
    """The client that the tracker uses."""
    return tracker.mlflow().ask(lambda client: client)


@pytest.fixture
def store(shared_home: Path) -> ArtifactStore:
    return ArtifactsResource().store()


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """Every test has an experiment of its own in the shared home."""
    return request.node.originalname[:90]
