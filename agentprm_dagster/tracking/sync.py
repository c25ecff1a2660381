"""What MLflow lacks is written down from the artifacts: all that a stage tells (`tracking.committed`), and parameters.

`sync` looks at everything: what was made while there was no MLflow, an MLflow that is new or was emptied, models that a
moved home left registered under their old place. `reconcile` runs when a command starts: it ends the runs of dead
processes, and where something could not be told before, it does what of `sync` it can in a bounded time. Both find what
is there by its digest and may be repeated. Runs of others are left alone, and so is what a person has deleted.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Literal

from agentprm_dagster.home import mlflow_folder
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lock import guarded
from agentprm_dagster.provenance.manifest import AssetPartition
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.tracking.client import Mlflow, behind
from agentprm_dagster.tracking.committed import EVERYTHING, TOLD, begun, ended, link, rest
from agentprm_dagster.tracking.models import register_checkpoint, sending_seconds
from agentprm_dagster.tracking.parents import end_run
from agentprm_dagster.tracking.records import create_run, run_tags, write_params
from agentprm_dagster.tracking.search import Known, origin_of, running

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

AUTOMATIC_SECONDS = 20.0
"""How long a command that starts writes down what is missing; the next one goes on."""

Outcome = Literal["written", "completed", "complete", "failed", "left"]
"""Of an artifact: it had no run, a run that lacked something, all there is to tell; it failed; the time was up."""

_log = logging.getLogger(__name__)


def reconcile(mlflow: Mlflow, store: ArtifactStore) -> list[str]:
    """Ends the runs of dead processes, finished where an artifact was committed and else killed; their ids. Where
    something could not be told before, it is told now, for some seconds.
    """
    ended: list[str] = []
    with guarded(mlflow_folder()), mlflow.tolerated("looking for runs of processes that are gone"):
        ended = _end_dead_runs(mlflow, store)
        if behind().exists():
            done = _sync(mlflow, store, everything=False, deadline=monotonic() + AUTOMATIC_SECONDS)
            if done.keys() - {"complete"}:
                _log.warning("MLflow at %s was told what it lacked: %s", mlflow.place, in_words(done))
    return ended


def sync(mlflow: Mlflow, store: ArtifactStore) -> "Counter[Outcome]":
    """Writes down everything that MLflow lacks; how many artifacts had which outcome.

    Raises:
        TrackerError: MLflow does not answer.
    """
    with guarded(mlflow_folder()):
        _end_dead_runs(mlflow, store)
        return _sync(mlflow, store, everything=True, deadline=inf)


def in_words(done: Mapping[Outcome, int]) -> str:
    """The outcomes in a line, those that there were."""
    words: dict[Outcome, str] = {
        "written": "runs written",
        "completed": "completed",
        "complete": "complete already",
        "failed": "failed",
        "left": "left for `agentprm mlflow sync`",
    }
    return ", ".join(f"{done[outcome]} {what}" for outcome, what in words.items() if done[outcome]) or "nothing to tell"


def _end_dead_runs(mlflow: Mlflow, store: ArtifactStore) -> list[str]:
    ended = []
    for run in running(mlflow):
        origin, run_id = origin_of(run), run.info.run_id
        if origin is None or origin.owner.state() != "dead":
            continue
        with mlflow.tolerated(f"ending the run {run_id} of a process that is gone"):
            made = _committed_by(run, origin.partition, store)
            if made is None:
                mlflow.ask(partial(_kill, run_id=run_id))
            else:
                _complete(mlflow, store, run, made, current=_is_current(store, made))
            ended.append(run_id)
    return ended


def _committed_by(run: "Run", partition: AssetPartition, store: ArtifactStore) -> Artifact | None:
    """The artifact that a run committed before its process was killed, or was to write down."""
    tagged = run.data.tags.get("digest")
    try:
        made = store.versions(partition)
        return next((a for a in made if a.manifest.mlflow_run_id == run.info.run_id or a.digest == tagged), None)
    except ArtifactError as error:
        _log.warning("%s: %s", partition, error)
        return None


def _kill(client: "MlflowClient", run_id: str) -> None:
    client.set_terminated(run_id, "KILLED")


def _sync(mlflow: Mlflow, store: ArtifactStore, *, everything: bool, deadline: float) -> "Counter[Outcome]":
    """Without `everything` an artifact is left alone whose run is in no experiment here: it is in another MLflow."""
    done: Counter[Outcome] = Counter()
    artifacts = _committed(store)
    known = Known(mlflow, artifacts)
    behind().unlink(missing_ok=True)  # whatever fails from here on makes it again
    for artifact in artifacts:
        outcome: Outcome = "left"
        if monotonic() < deadline:
            outcome = "failed"
            with mlflow.tolerated(f"writing down {artifact.version}"):
                outcome = _settle(mlflow, store, known, artifact, everything=everything)
        done[outcome] += 1
    if done["left"]:
        behind().touch()
    return done


def _settle(mlflow: Mlflow, store: ArtifactStore, known: Known, artifact: Artifact, *, everything: bool) -> Outcome:
    run, current = known.run_of(artifact), _is_current(store, artifact)
    if run is None:
        elsewhere = artifact.manifest.mlflow_run_id is not None
        if known.unwanted(artifact) or (elsewhere and not everything):
            return "complete"
        run = mlflow.ask(partial(_create, artifact=artifact))
        _complete(mlflow, store, run, artifact, current=current)
        return "written"
    if run.info.lifecycle_stage == "deleted":
        return "complete"
    if _agrees(run, artifact):
        if everything:
            _register(mlflow, run.info.run_id, artifact, current=current)
        return "complete"
    _complete(mlflow, store, run, artifact, current=current)
    return "completed"


def _agrees(run: "Run", artifact: Artifact) -> bool:
    """Whether a run has ended, names the artifact where it lies, and was told everything."""
    tags = run.data.tags
    said = tags.get("digest"), tags.get("artifact"), tags.get(TOLD)
    return said == (artifact.digest, artifact.uri, EVERYTHING) and run.info.status == "FINISHED"


def _create(client: "MlflowClient", artifact: Artifact) -> "Run":
    recipe = artifact.manifest.recipe
    tags = run_tags(recipe, artifact.manifest.dagster_run_id or "")
    return create_run(client, recipe, {**tags, "digest": artifact.digest}, begun(artifact))


def _complete(mlflow: Mlflow, store: ArtifactStore, run: "Run", artifact: Artifact, *, current: bool) -> None:
    """Tells a run all that there is to tell of its artifact, and ends it."""
    made, run_id = artifact.manifest, run.info.run_id
    if not artifact.path.is_dir():  # in a remote store
        artifact = store.get(made.experiment, made.asset, made.iteration, made.digest)
    write_params(mlflow, run_id, made.recipe)
    mlflow.ask(lambda client: link(client, run_id, artifact))
    if run.info.status != "FINISHED":
        mlflow.ask(lambda client: end_run(client, run_id, "FINISHED", ended(artifact)))
    for step in rest(run_id, artifact, current=current):
        mlflow.ask(step.work, more=step.more)


def _register(mlflow: Mlflow, run_id: str, artifact: Artifact, *, current: bool) -> None:
    work = partial(register_checkpoint, run_id=run_id, artifact=artifact, current=current)
    mlflow.ask(work, more=sending_seconds(artifact))


def _is_current(store: ArtifactStore, artifact: Artifact) -> bool:
    made = artifact.manifest
    try:
        return store.head(made.experiment, made.asset, made.iteration) == artifact.version
    except ArtifactError:
        return False


def _committed(store: ArtifactStore) -> list[Artifact]:
    """All artifacts that can be read, the first made first; for the others there is `agentprm verify`."""
    found = []
    for place in store.places():
        try:
            found.append(store.read(place))
        except (ArtifactError, OSError) as error:
            _log.warning("%s", error)
    return sorted(found, key=lambda artifact: (artifact.manifest.started, artifact.version))
