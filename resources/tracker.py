"""MLflow's view of what the stages do: one run for each attempt to make an artifact, one model version a checkpoint.

The manifests are the truth and MLflow is a view of them. So an MLflow that cannot be reached when a stage starts is an
error, but one that fails later costs a warning and not the work done.

A checkpoint is registered where the store keeps it and is not copied: `models:/<name>@iteration-<i>` resolves to the
artifact's own folder. Only an MLflow server, which accepts no folder of another machine, is sent a copy.
"""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from os import environ
from pathlib import PurePosixPath
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Literal, Protocol

import dagster as dg

from agentprm_dagster.home import mlflow_folder, presence_folder
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.manifest import Input, Manifest, Recipe, Slot
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore

if TYPE_CHECKING:  # importing mlflow takes seconds, so it is imported where it is used
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run

FLUSH_SECONDS = 3.0
FLUSH_POINTS = 100

_log = logging.getLogger(__name__)


class TrackedRun(Protocol):
    """One attempt to make an artifact, as it is tracked."""

    @property
    def id(self) -> str | None:
        """The MLflow run's id."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step; written every few seconds and at the end."""

    def committed(self, artifact: Artifact) -> None:
        """Links the run to the artifact it made: digest, inputs, and a model version if it holds a checkpoint."""


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
        """Ends the runs of killed processes: finished where the artifact was committed, else killed; their ids."""


class NullTracker(TrackerResource):
    """Keeps no account."""

    def run(self, recipe: Recipe, dagster_run_id: str) -> AbstractContextManager[TrackedRun]:
        """A run that is not tracked."""
        return nullcontext(_UntrackedRun())

    def url(self, run_id: str | None) -> str | None:
        """Nowhere."""
        return None

    def reconcile(self, store: ArtifactStore) -> list[str]:
        """Nothing to end."""
        return []


class MlflowTracker(TrackerResource):
    """MLflow at `uri`."""

    uri: str = ""
    """A database or a server; empty: MLFLOW_TRACKING_URI, else SQLite under the home folder."""
    ui: str = "http://127.0.0.1:5000"
    """Where the MLflow UI shows a database; a server shows itself."""

    def run(self, recipe: Recipe, dagster_run_id: str) -> AbstractContextManager[TrackedRun]:
        """A run called `asset[iteration]` in the MLflow experiment called as the experiment."""
        return _run(self._client(), recipe, dagster_run_id)

    def url(self, run_id: str | None) -> str | None:
        """The run's page in the MLflow UI."""
        base = tracking_uri(self.uri)
        return f"{(base if _is_server(base) else self.ui).rstrip('/')}/#/runs/{run_id}" if run_id else None

    def reconcile(self, store: ArtifactStore) -> list[str]:
        """See `TrackerResource.reconcile`; runs of other machines and of living processes are left alone."""
        client = self._client()
        dead = [run for run in _running(client) if _owner(run).state() == "dead"]
        for run in dead:
            tracked = _MlflowRun(client, run.info.run_id)
            artifact = _committed_by(run, store)
            if artifact is not None:
                tracked.committed(artifact)
            tracked.close("KILLED" if artifact is None else "FINISHED")
        return [run.info.run_id for run in dead]

    def _client(self) -> "MlflowClient":
        return mlflow_client(tracking_uri(self.uri))


def tracking_uri(chosen: str = "") -> str:
    """The MLflow in use: the one chosen, else MLFLOW_TRACKING_URI, else a database under the home folder."""
    return chosen or environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{mlflow_folder() / 'mlflow.db'}"


@cache
def mlflow_client(uri: str) -> "MlflowClient":
    """A client of the MLflow at `uri`; a database that is missing is made, its folder only if it is the default."""
    from mlflow import MlflowClient

    if not _is_server(uri):
        mlflow_folder().mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


class _UntrackedRun:
    id: str | None = None

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        pass

    def committed(self, artifact: Artifact) -> None:
        pass


class _MlflowRun:
    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self.id: str | None = run_id
        self._run_id = run_id
        self._client = client
        self._points: list[Metric] = []
        self._flush_at = FLUSH_POINTS
        self._due = monotonic() + FLUSH_SECONDS

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time() * 1000)
        self._points.extend(Metric(name, float(value), now, step) for name, value in values.items())
        if len(self._points) >= self._flush_at or monotonic() >= self._due:
            self._flush()

    def committed(self, artifact: Artifact) -> None:
        with _tolerated(f"linking {artifact.version}"):
            self._client.set_tag(self._run_id, "digest", artifact.digest)
            self._client.set_tag(self._run_id, "artifact", artifact.uri)
            self._client.log_inputs(self._run_id, [_dataset(read, artifact) for read in artifact.manifest.inputs])
            register_checkpoint(self._client, self._run_id, artifact)

    def close(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        self._flush()
        with _tolerated("ending the run"):
            self._client.set_terminated(self._run_id, status)

    def _flush(self) -> None:
        with _tolerated("writing metrics"):
            while self._points:
                self._client.log_batch(self._run_id, metrics=self._points[:FLUSH_POINTS])
                del self._points[:FLUSH_POINTS]
        self._flush_at = len(self._points) + FLUSH_POINTS
        self._due = monotonic() + FLUSH_SECONDS


@contextmanager
def _run(client: "MlflowClient", recipe: Recipe, dagster_run_id: str) -> Iterator[_MlflowRun]:
    run = _MlflowRun(client, _start(client, recipe, dagster_run_id))
    status: Literal["FINISHED", "FAILED"] = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        run.close(status)


def _start(client: "MlflowClient", recipe: Recipe, dagster_run_id: str) -> str:
    """Makes the run, with what is known before the work starts; answers its id."""
    from mlflow.entities import Param

    name = f"{recipe.asset}[{recipe.iteration}]" if recipe.iteration else recipe.asset
    tags = {
        "experiment": recipe.experiment,
        "asset": recipe.asset,
        "iteration": str(recipe.iteration),
        "dagster_run_id": dagster_run_id,
        "key": recipe.key,
        "owner": Owner.this_process(presence_folder()).to_json(),
        "mlflow.source.git.commit": recipe.code.git_commit or "",
    }
    run_id: str = client.create_run(_experiment_id(client, recipe.experiment), run_name=name, tags=tags).info.run_id
    params = [Param(key, value) for key, value in flat({**recipe.config, "seeds": recipe.seeds}).items()]
    for start in range(0, len(params), FLUSH_POINTS):
        client.log_batch(run_id, params=params[start : start + FLUSH_POINTS])
    return run_id


def _experiment_id(client: "MlflowClient", name: str) -> str:
    from mlflow import MlflowException

    where = None if _is_server(client.tracking_uri) else (mlflow_folder() / "artifacts" / name).as_uri()
    try:
        return client.create_experiment(name, artifact_location=where)
    except MlflowException as error:
        found = client.get_experiment_by_name(name)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
            raise
        if found.lifecycle_stage == "deleted":  # by a person, in the UI; its name stays taken
            client.restore_experiment(found.experiment_id)
        return found.experiment_id


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as MLflow's flat parameters, `sft.epochs: 3`."""
    params: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            params.update(flat(value, f"{prefix}{name}."))
        else:
            params[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return params


def register_checkpoint(client: "MlflowClient", run_id: str, artifact: Artifact) -> None:
    """Registers the checkpoint in an artifact, if there is one, under an alias for its iteration; once a digest."""
    from mlflow import MlflowException

    made, folder = artifact.manifest, checkpoint_folder(artifact.manifest)
    if folder is None:
        return
    name = f"{made.experiment}-{'policy' if made.asset.endswith('_policy') else made.asset}"
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    registered = [*client.search_model_versions(f"name = '{name}' and tags.digest = '{artifact.digest}'")]
    if not registered:
        tags = {"digest": artifact.digest, "asset": made.asset, "iteration": str(made.iteration)}
        source = model_source(client, run_id, artifact, folder)
        registered = [client.create_model_version(name, source=source, run_id=run_id, tags=tags)]
    client.set_registered_model_alias(name, f"iteration-{made.iteration}", registered[0].version)


def checkpoint_folder(manifest: Manifest) -> str | None:
    """The folder of an artifact that `from_pretrained` can read, the outermost one; None if there is none."""
    paths = [PurePosixPath(entry.path) for entry in manifest.files]
    weights = {path.parent for path in paths if path.suffix == ".safetensors"}
    folders = [path.parent for path in paths if path.name == "config.json" and path.parent in weights]
    return str(min(folders, key=lambda folder: (len(folder.parts), folder))) if folders else None


def model_source(client: "MlflowClient", run_id: str, artifact: Artifact, folder: str) -> str:
    """Where MLflow finds the checkpoint: in the store, or in its own copy if it cannot look there."""
    if artifact.uri != str(artifact.path):
        return f"{artifact.uri}/{folder}".removesuffix("/.")
    if not _is_server(client.tracking_uri):
        return (artifact.path / folder).as_uri()
    client.log_artifacts(run_id, str(artifact.path / folder), "checkpoint")
    return f"{client.get_run(run_id).info.artifact_uri}/checkpoint"


def _dataset(read: Input, artifact: Artifact) -> "DatasetInput":
    """An input of `artifact` as MLflow shows it; MLflow keeps at most 36 digits of a digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    uri = artifact.uri.removesuffix(artifact.version.place) + read.version.place
    dataset = Dataset(str(read.version.slot), read.digest[:36], "local", json.dumps({"uri": uri}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", read.role), InputTag("digest", read.digest)])


def _running(client: "MlflowClient") -> Iterator["Run"]:
    """The runs that say they are running and were started by us."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    token = None
    while token != "":
        page = client.search_runs(experiments, "attributes.status = 'RUNNING'", page_token=token)
        yield from (run for run in page if "owner" in run.data.tags)
        token = page.token or ""


def _owner(run: "Run") -> Owner:
    return Owner.from_json(run.data.tags["owner"])


def _committed_by(run: "Run", store: ArtifactStore) -> Artifact | None:
    """The artifact that a run committed before it was killed."""
    tags = run.data.tags
    slot = Slot(tags["experiment"], tags["asset"], int(tags["iteration"]))
    try:
        return next((made for made in store.versions(slot) if made.manifest.mlflow_run_id == run.info.run_id), None)
    except ArtifactError as error:
        _log.warning("%s: %s", slot, error)
        return None


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


@contextmanager
def _tolerated(what: str) -> Iterator[None]:
    """What MLflow refuses here is told and not raised: the work is worth more than the view of it."""
    from mlflow import MlflowException

    try:
        yield
    except MlflowException as error:
        _log.warning("MLflow failed at %s: %s", what, error)
