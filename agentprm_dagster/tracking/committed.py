"""All that MLflow is told of an artifact, in steps that may be repeated: by the stage that made it, and by `sync`.

Each step finds what is there by digest, or writes under names and times that follow from the manifest, so that it adds
nothing when it is repeated. The last one marks the run, which tells `sync` that nothing is missing.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Input
from agentprm_dagster.reports.evaluation import evaluation_name
from agentprm_dagster.tracking.evaluations import DIGITS, rows, tell_evaluation
from agentprm_dagster.tracking.models import (
    checkpoint_folder,
    logged_model,
    register_checkpoint,
    sending_seconds,
)
from agentprm_dagster.tracking.pages import NOTE, dagster_links, send_pages, summary
from agentprm_dagster.tracking.records import run_metrics
from agentprm_dagster.tracking.traces import sample, write_traces

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

TOLD = "told"
EVERYTHING = "1"
"""What the tag holds once all was told; another number once there is more to tell."""


class Step(NamedTuple):
    """Something to tell."""

    what: str
    """Said in a warning: "when registering the model in ..."."""
    work: Callable[["MlflowClient"], object]
    more: float = 0.0
    """Seconds that it may take longer than usual."""


def begun(artifact: Artifact) -> int:
    """When making it began, in ms since 1970."""
    return int(datetime.fromisoformat(artifact.manifest.started).timestamp() * 1000)


def ended(artifact: Artifact) -> int:
    """When it was made, in ms since 1970."""
    return begun(artifact) + int(artifact.manifest.seconds * 1000)


def link(client: "MlflowClient", run_id: str, artifact: Artifact) -> None:
    """Tells a run what it made: numbers, inputs, a description; the digest last, so that a run that has it has the
    rest.
    """
    made = artifact.manifest
    apart = {evaluation_name(row) for row in rows(artifact)}
    numbers = {name: value for name, value in made.metrics.items() if name not in apart}
    client.log_batch(run_id, metrics=run_metrics(numbers, ended(artifact), made.iteration))
    client.log_inputs(run_id, [_dataset(read, artifact) for read in made.inputs])
    links = dagster_links(made.recipe, made.dagster_run_id or "")
    client.set_tag(run_id, NOTE, f"{links}\n\n{summary(artifact)}")
    client.set_tag(run_id, "artifact", artifact.uri)
    client.set_tag(run_id, "digest", artifact.digest)


def _dataset(read: Input, artifact: Artifact) -> "DatasetInput":
    """An input of `artifact` as MLflow shows it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    uri = artifact.uri.removesuffix(artifact.version.place) + read.version.place
    dataset = Dataset(str(read.version.partition), read.digest[:DIGITS], "local", json.dumps({"uri": uri}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", read.role), InputTag("digest", read.digest)])


def rest(run_id: str, artifact: Artifact, *, current: bool = True) -> Iterator[Step]:
    """What is told of an artifact after its run has ended: it must leave none that runs if it fails.

    `current` is whether no other version has taken its place.
    """
    if checkpoint_folder(artifact.manifest):
        yield Step(
            f"registering the model in {artifact.version}",
            lambda client: _tell_model(client, run_id, artifact, current=current),
            sending_seconds(artifact),
        )
    if rows(artifact):
        yield Step(
            f"linking the numbers of {artifact.version} to models",
            lambda client: tell_evaluation(client, run_id, artifact, ended(artifact)),
        )
    yield Step(f"sending the page of {artifact.version}", lambda client: send_pages(client, run_id, artifact))
    if drawn := sample(artifact):
        yield Step(
            f"writing episodes of {artifact.version} as traces",
            lambda client: write_traces(client, run_id, artifact, drawn, begun(artifact)),
        )
    yield Step(f"marking the run of {artifact.version}", lambda client: client.set_tag(run_id, TOLD, EVERYTHING))


def _tell_model(client: "MlflowClient", run_id: str, artifact: Artifact, *, current: bool) -> None:
    """A LoggedModel with the artifact's numbers, linked to what it learnt from, and a registered version."""
    from mlflow.entities import LoggedModelOutput, Metric

    made, run = artifact.manifest, client.get_run(run_id)
    model_id = logged_model(client, run.info.experiment_id, artifact, run_id)
    if model_id not in {output.model_id for output in (run.outputs.model_outputs if run.outputs else ())}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, made.iteration)])
    targets = next((read for read in made.inputs if read.asset.endswith("_targets")), None)
    data = (str(targets.version.partition), targets.digest[:DIGITS]) if targets else (None, None)
    numbers = run_metrics(made.metrics, ended(artifact), made.iteration)
    client.log_batch(run_id, metrics=[Metric(n.key, n.value, n.timestamp, n.step, model_id, *data) for n in numbers])
    register_checkpoint(client, run_id, artifact, current=current)
