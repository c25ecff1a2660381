"""`agentprm mlflow`: brings MLflow up to what the manifests say."""

from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.tracking.client import mlflow_at
from agentprm_dagster.tracking.sync import in_words, sync
from agentprm_dagster.tracking.uri import tracking_uri


def print_sync() -> bool:
    """Writes down what MLflow lacks and says how much that was; whether all could be written.

    Raises:
        TrackerError: MLflow does not answer.
    """
    mlflow = mlflow_at(tracking_uri())
    done = sync(mlflow, ArtifactsResource().store())
    print(f"MLflow at {mlflow.place}: {in_words(done)}")
    return not done["failed"]
