"""MLflow's view of what the stages do: one run for each attempt to make an artifact, one model version a checkpoint.

The manifests are the truth and MLflow is a view of them. So an MLflow that cannot be reached, or refuses something,
costs a warning and never the work; what it then lacks is written down later from the manifests (`mlflow_sync`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Literal, Protocol

import dagster as dg

from agentprm_dagster.home import scratch_folder
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.lock import guarded
from agentprm_dagster.provenance.manifest import Recipe
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.tracking.client import Mlflow, mlflow_at
from agentprm_dagster.tracking.committed import link, rest
from agentprm_dagster.tracking.models import crown, sending_seconds
from agentprm_dagster.tracking.parents import describe_experiment, end_run
from agentprm_dagster.tracking.records import create_run, run_metrics, run_name, run_tags, write_params
from agentprm_dagster.tracking.sync import reconcile
from agentprm_dagster.tracking.uri import mlflow_page, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Metric

FLUSH_SECONDS = 3.0
FLUSH_SHARE = 30.0
"""How many times as long as the last flush took the next one waits at least."""
BATCH = 100
ANY = "0"
"""An experiment that every MLflow has: the page of a run is found under it as well."""
KEPT_POINTS = 10_000
"""Points that wait for an MLflow that is gone; the last ones."""

Status = Literal["FINISHED", "FAILED", "KILLED"]


class TrackedRun(Protocol):
    """One attempt to make an artifact, as it is tracked."""

    @property
    def id(self) -> str | None:
        """The MLflow run's id; None where there is no run."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a training step; written every few seconds and at the end. What is not finite is left out.

        A name in no folder is put into `training/`, so that no curve shares a name with a number of the artifact.
        """

    def committed(self, artifact: Artifact) -> None:
        """Names the artifact made, of which everything is told when the run ends (`tracking.committed`)."""


class TrackerResource(dg.ConfigurableResource[Any], ABC):
    """Keeps an account of every attempt."""

    @abstractmethod
    def run(self, recipe: Recipe, dagster_run_id: str, description: str = "") -> AbstractContextManager[TrackedRun]:
        """An attempt at a recipe: finished when the block ends, failed when it raises, killed when it is interrupted.

        `description` says what its experiment is.
        """

    @abstractmethod
    def url(self, run_id: str | None) -> str | None:
        """Where a person sees the run of this id."""

    @abstractmethod
    def champion(self, artifact: Artifact) -> None:
        """Gives the registered version of a policy the alias `champion`, which nothing else moves."""

    @abstractmethod
    def reconcile(self, store: ArtifactStore) -> list[str]:
        """Ends the runs of killed processes and writes those that could not be written; their ids."""


class MlflowTracker(TrackerResource):
    """MLflow at `uri`."""

    uri: str = ""
    """A database or a server; empty: MLFLOW_TRACKING_URI, else SQLite under the home folder."""

    def run(self, recipe: Recipe, dagster_run_id: str, description: str = "") -> AbstractContextManager[TrackedRun]:
        """A run called `asset[iteration]` in the MLflow experiment called as the experiment; none without MLflow."""
        return _run(self.mlflow(), recipe, dagster_run_id, description)

    def url(self, run_id: str | None) -> str | None:
        """The run's page in the MLflow UI."""
        if not run_id:
            return None
        experiment_id = self.mlflow().experiments.get(run_id, ANY)
        return mlflow_page(tracking_uri(self.uri), f"experiments/{experiment_id}/runs/{run_id}")

    def champion(self, artifact: Artifact) -> None:
        """The alias; without MLflow a warning, and the next policy that is promoted takes it."""
        mlflow = self.mlflow()
        with mlflow.tolerated(f"making {artifact.version} the champion"):
            mlflow.ask(lambda client: crown(client, artifact), more=sending_seconds(artifact))

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
        curves = {name if "/" in name else f"training/{name}": value for name, value in values.items()}
        self._points.extend(run_metrics(curves, int(time() * 1000), step))
        del self._points[:-KEPT_POINTS]
        if monotonic() >= self._due:
            self._flush()

    def committed(self, artifact: Artifact) -> None:
        self._artifact = artifact

    def close(self, status: Status) -> None:
        """What may fail or take long comes after the run's end, so that no run is left behind that runs."""
        mlflow, run_id, artifact = self._mlflow, self._run_id, self._artifact
        self._flush()
        linked = False
        if artifact is not None:
            with mlflow.tolerated(f"linking {artifact.version} to its run"):
                mlflow.ask(lambda client: link(client, run_id, artifact))
                linked = True
        with mlflow.tolerated(f"ending the run {run_id}"):
            mlflow.ask(lambda client: end_run(client, run_id, status))
        if artifact is not None and linked:
            self._tell_rest(artifact)

    def _tell_rest(self, artifact: Artifact) -> None:
        """Up to the first step that fails, which with all that follow is left to `sync`."""
        for step in rest(self._run_id, artifact):
            told = False
            with self._mlflow.tolerated(step.what):
                self._mlflow.ask(step.work, more=step.more)
                told = True
            if not told:
                return

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
def _run(mlflow: Mlflow, recipe: Recipe, dagster_run_id: str, description: str) -> Iterator[TrackedRun]:
    run_id = _start(mlflow, recipe, dagster_run_id, description)
    if run_id is None:
        yield _UntrackedRun()
        return
    run = _MlflowRun(mlflow, run_id)
    status: Status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):  # by a person
        status = "KILLED"
        raise
    finally:
        run.close(status)


def _start(mlflow: Mlflow, recipe: Recipe, dagster_run_id: str, description: str) -> str | None:
    """Makes the run, with what is known before the work starts; its id, or None without MLflow."""
    run_id = None
    with mlflow.tolerated(f"starting a run for {run_name(recipe)}"):
        tags = run_tags(recipe, dagster_run_id)
        with guarded(scratch_folder() / "mlflow"):  # two runs of one iteration make one parent
            run = mlflow.ask(lambda client: create_run(client, recipe, tags)).info
        run_id, mlflow.experiments[run.run_id] = run.run_id, run.experiment_id
    if run_id is not None:
        with mlflow.tolerated(f"writing the parameters of {run_name(recipe)}"):
            write_params(mlflow, run_id, recipe)
            if description:
                mlflow.ask(lambda client: describe_experiment(client, recipe.experiment, description))
    return run_id
