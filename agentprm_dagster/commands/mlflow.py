"""`agentprm mlflow` and `agentprm trace`: brings MLflow up to what the artifacts say, and shows episodes in it."""

from contextlib import suppress
from functools import partial

from agentprm_dagster.config.catalog import ExperimentError, load_experiment
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.tracking.client import Mlflow, TrackerError, mlflow_at
from agentprm_dagster.tracking.committed import begun
from agentprm_dagster.tracking.parents import describe_experiment
from agentprm_dagster.tracking.search import Known
from agentprm_dagster.tracking.sync import in_words, sync
from agentprm_dagster.tracking.traces import find, write_traces
from agentprm_dagster.tracking.uri import mlflow_page, tracking_uri


def print_sync() -> bool:
    """Writes down what MLflow lacks and says how much that was; whether all could be written.

    Raises:
        TrackerError: MLflow does not answer.
    """
    mlflow, store = mlflow_at(tracking_uri()), ArtifactsResource().store()
    done = sync(mlflow, store)
    _describe(mlflow, store)
    print(f"MLflow at {mlflow.place}: {in_words(done)}")
    return not done["failed"]


def _describe(mlflow: Mlflow, store: ArtifactStore) -> None:
    for name in store.experiments():
        with suppress(ExperimentError):  # its file may be gone, its artifacts are not
            description = load_experiment(name).description
            mlflow.ask(partial(describe_experiment, name=name, description=description))


def print_traces(experiment: str, episode: str, iteration: int, asset: str) -> None:
    """Writes an episode as a trace and prints where it is seen; one for each play of an evaluation that has it.

    Raises:
        ArtifactError: the artifact was not made, or is damaged.
        TrackerError: no episode is called so, MLflow does not answer, or it has no run of the artifact.
    """
    mlflow = mlflow_at(tracking_uri())
    artifact = ArtifactsResource().store().current(experiment, asset, iteration)
    found = find(artifact, episode)
    if not found:
        raise TrackerError(
            f"{artifact.version} has no episode {episode!r}: ids stand in the column episode_id of episodes.parquet, "
            f"in {artifact.path}"
        )
    run = Known(mlflow, [artifact]).run_of(artifact)
    if run is None:
        raise TrackerError(
            f"MLflow at {mlflow.place} has no run of {artifact.version}: `agentprm mlflow sync` makes it"
        )
    run_id = run.info.run_id
    ids = mlflow.ask(lambda client: write_traces(client, run_id, artifact, found, begun(artifact)))
    for trace_id in ids:
        page = f"experiments/{run.info.experiment_id}/traces?selectedEvaluationId={trace_id}"
        print(mlflow_page(tracking_uri(), page))
