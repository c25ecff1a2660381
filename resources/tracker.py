"""MLflow's view of what the stages do: one run for each attempt to make an artifact, one model version a checkpoint.

The manifests are the truth and MLflow is a view of them. So an MLflow that cannot be reached, or refuses something,
costs a warning and never the work; what it then lacks is written down later from the manifests (`mlflow_sync`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from os import environ
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Literal, Protocol

import dagster as dg

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Recipe
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.tracking.client import Mlflow, mlflow_at
from agentprm_dagster.tracking.records import (
    checkpoint_folder,
    create_run,
    link,
    register_checkpoint,
    run_metrics,
    run_name,
    run_tags,
    sending_seconds,
    write_params,
)
from agentprm_dagster.tracking.sync import reconcile
from agentprm_dagster.tracking.uri import is_server, tracking_uri, without_credentials

if TYPE_CHECKING:
    from mlflow.entities import Metric

MLFLOW_UI = "AGENTPRM_MLFLOW_UI"
"""The variable that names the address where MLflow's pages are shown; `agentprm ui` sets it."""

FLUSH_SECONDS = 3.0
FLUSH_SHARE = 30.0
"""How many times as long as the last flush took the next one waits at least."""
BATCH = 100
KEPT_POINTS = 10_000
"""Points that wait for an MLflow that is gone; the last ones."""


class TrackedRun(Protocol):
    """One attempt to make an artifact, as it is tracked."""

    @property
    def id(self) -> str | None:
        """The MLflow run's id; None where there is no run."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step; written every few seconds and at the end. What is not finite is left out."""

    def committed(self, artifact: Artifact) -> None:
        """Names the artifact made, which the run is linked to when it ends: digest, inputs, a model version."""


class TrackerResource(dg.ConfigurableResource[Any], ABC):
    """Keeps an account of every attempt."""

    @abstractmethod
    def run(self, recipe: Recipe, dagster_run_id: str) -> AbstractContextManager[TrackedRun]:
        """An attempt at a recipe: finished when the block ends, failed when it raises."""

    @abstractmethod
    def url(self, run_id: str | None) -> str | None:
        """Where a person sees the run of this id."""

    @abstractmethod
    def reconcile(self, store: ArtifactStore) -> list[str]:
        """Ends the runs of killed processes and writes those that could not be written; their ids."""


class MlflowTracker(TrackerResource):
    """MLflow at `uri`."""

    uri: str = ""
    """A database or a server; empty: MLFLOW_TRACKING_URI, else SQLite under the home folder."""
    ui: str = "http://127.0.0.1:5000"
    """Where the MLflow UI shows a database; a server shows itself."""

    def run(self, recipe: Recipe, dagster_run_id: str) -> AbstractContextManager[TrackedRun]:
        """A run called `asset[iteration]` in the MLflow experiment called as the experiment; none without MLflow."""
        return _run(self.mlflow(), recipe, dagster_run_id)

    def url(self, run_id: str | None) -> str | None:
        """The run's page in the MLflow UI."""
        base = tracking_uri(self.uri)
        shown = environ.get(MLFLOW_UI) or self.ui
        page = without_credentials(base) if is_server(base) else shown.rstrip("/")
        return f"{page}/#/runs/{run_id}" if run_id else None

    def reconcile(self, store: ArtifactStore) -> list[str]:
        """See `mlflow_sync.reconcile`."""
        return reconcile(self.mlflow(), store)

    def mlflow(self) -> Mlflow:
        """The MLflow that is told."""
        return mlflow_at(tracking_uri(self.uri))


class _UntrackedRun:
    id: str | None = None

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        pass

    def committed(self, artifact: Artifact) -> None:
        pass


class _MlflowRun:
    def __init__(self, mlflow: Mlflow, run_id: str) -> None:
        self.id: str | None = run_id
        self._run_id = run_id
        self._mlflow = mlflow
        self._artifact: Artifact | None = None
        self._points: list[Metric] = []
        self._due = monotonic() + FLUSH_SECONDS

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._points.extend(run_metrics(values, int(time() * 1000), step))
        del self._points[:-KEPT_POINTS]
        if monotonic() >= self._due:
            self._flush()

    def committed(self, artifact: Artifact) -> None:
        self._artifact = artifact

    def close(self, status: Literal["FINISHED", "FAILED"]) -> None:
        """The model comes last: sending a copy of it is what fails most, and must leave no run behind that runs."""
        mlflow, run_id, artifact = self._mlflow, self._run_id, self._artifact
        self._flush()
        if artifact is not None:
            with mlflow.tolerated(f"linking {artifact.version} to its run"):
                mlflow.ask(lambda client: link(client, run_id, artifact))
        with mlflow.tolerated(f"ending the run {run_id}"):
            mlflow.ask(lambda client: client.set_terminated(run_id, status))
        if artifact is not None and checkpoint_folder(artifact.manifest):
            with mlflow.tolerated(f"registering the model in {artifact.version}"):
                more = sending_seconds(artifact)
                mlflow.ask(lambda client: register_checkpoint(client, run_id, artifact), more=more)

    def _flush(self) -> None:
        began = monotonic()
        with self._mlflow.tolerated(f"writing metrics of the run {self._run_id}"):
            while batch := self._points[:BATCH]:
                self._write(batch)
                del self._points[:BATCH]
        self._due = monotonic() + max(FLUSH_SECONDS, FLUSH_SHARE * (monotonic() - began))

    def _write(self, points: list["Metric"]) -> None:
        self._mlflow.ask(lambda client: client.log_batch(self._run_id, metrics=points))


@contextmanager
def _run(mlflow: Mlflow, recipe: Recipe, dagster_run_id: str) -> Iterator[TrackedRun]:
    run_id = _start(mlflow, recipe, dagster_run_id)
    if run_id is None:
        yield _UntrackedRun()
        return
    run = _MlflowRun(mlflow, run_id)
    status: Literal["FINISHED", "FAILED"] = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        run.close(status)


def _start(mlflow: Mlflow, recipe: Recipe, dagster_run_id: str) -> str | None:
    """Makes the run, with what is known before the work starts; its id, or None without MLflow."""
    run_id = None
    with mlflow.tolerated(f"starting a run for {run_name(recipe)}"):
        tags = run_tags(recipe, dagster_run_id)
        run_id = mlflow.ask(lambda client: create_run(client, recipe, tags)).info.run_id
    if run_id is not None:
        with mlflow.tolerated(f"writing the parameters of {run_name(recipe)}"):
            write_params(mlflow, run_id, recipe)
    return run_id
