"""What MLflow is told of an attempt and of what it made: tags, parameters, inputs, and a model version a checkpoint.

A checkpoint is registered where the store keeps it and is not copied: `models:/<name>@iteration-<i>` resolves to the
artifact's own folder. Only an MLflow server, which accepts no folder of another machine, is sent a copy.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from math import isfinite
from pathlib import PurePosixPath
from posixpath import normpath
from typing import TYPE_CHECKING

from agentprm_dagster.home import home, mlflow_folder, presence_folder
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.flat import flat
from agentprm_dagster.provenance.manifest import Input, Manifest, Recipe
from agentprm_dagster.provenance.owner import Owner, user_name
from agentprm_dagster.tracking.client import Mlflow
from agentprm_dagster.tracking.uri import is_server

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Param, Run

UPLOAD_SPEED = 1e6
"""Bytes a second, below which the way to a server is given up."""
PARAMS_AT_ONCE = 25
"""MLflow takes no batch above a megabyte; as many of the longest stay below it in any alphabet."""
LONGEST_NAME = 250
LONGEST_VALUE = 6000
"""Letters of a parameter's name (or a metric's) and of its value; MLflow's own limits."""


def run_name(recipe: Recipe) -> str:
    """`prm[2]`; `initial_policy`."""
    return f"{recipe.asset}[{recipe.iteration}]" if recipe.iteration else recipe.asset


def run_tags(recipe: Recipe, dagster_run_id: str) -> dict[str, str]:
    """What is known of an attempt before the work starts, and who makes it, where."""
    return {
        "experiment": recipe.experiment,
        "asset": recipe.asset,
        "iteration": str(recipe.iteration),
        "dagster_run_id": dagster_run_id,
        "key": recipe.key,
        "owner": Owner.this_process(presence_folder()).to_json(),
        "home": str(home()),
        "mlflow.source.git.commit": recipe.code.git_commit or "",
        "mlflow.user": user_name(),
    }


def create_run(client: "MlflowClient", recipe: Recipe, tags: dict[str, str], begun: int | None = None) -> "Run":
    """A new run called `asset[iteration]`, begun at `begun` (ms since 1970) or now."""
    where = _experiment_id(client, recipe.experiment)
    run = client.create_run(where, begun, tags, run_name(recipe))
    if not run.info.run_id:
        raise ValueError("expected the id of a new run, got an empty answer; is that an MLflow server?")
    return run


def _experiment_id(client: "MlflowClient", name: str) -> str:
    """The MLflow experiment called so, made or brought back where a person has deleted it."""
    from mlflow import MlflowException

    where = None if is_server(client.tracking_uri) else (mlflow_folder() / "artifacts" / name).as_uri()
    try:
        return client.create_experiment(name, artifact_location=where)
    except MlflowException as error:
        found = client.get_experiment_by_name(name)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
            raise
        if found.lifecycle_stage == "deleted":  # its name stays taken
            client.restore_experiment(found.experiment_id)
        return found.experiment_id


def write_params(mlflow: Mlflow, run_id: str, recipe: Recipe) -> None:
    """Writes all settings and seeds as parameters that MLflow takes; TrackerError where it does not."""
    from mlflow.entities import Param

    settings = flat({**recipe.config, "seeds": recipe.seeds})
    params = [Param(fitting_name(name), _fitting_value(value)) for name, value in settings.items()]
    for start in range(0, len(params), PARAMS_AT_ONCE):
        batch = params[start : start + PARAMS_AT_ONCE]
        mlflow.ask(partial(_write_batch, run_id=run_id, params=batch))


def _write_batch(client: "MlflowClient", run_id: str, params: list["Param"]) -> None:
    client.log_batch(run_id, params=params)


def run_metrics(values: Mapping[str, float | None], time: int, step: int) -> list["Metric"]:
    """Numbers at a step and a time (ms since 1970) as metrics that MLflow takes: those that are finite."""
    from mlflow.entities import Metric

    finite = {name: float(value) for name, value in values.items() if value is not None and isfinite(value)}
    return [Metric(fitting_name(name), value, time, step) for name, value in finite.items()]


def fitting_name(name: str) -> str:
    """A name itself where MLflow takes it; else `_` for what it refuses, cut, and marked with the name's own hash."""
    if re.fullmatch(rf"[\w \-:][/\w.\- :]{{0,{LONGEST_NAME - 1}}}", name) and normpath(name) == name:
        return name
    plain = re.sub(r"[^\w.\- :]|^\.", "_", name)[: LONGEST_NAME - 9]
    return f"{plain}_{sha256(name.encode()).hexdigest()[:8]}"


def _fitting_value(value: str) -> str:
    mark = f"... (cut; {len(value)} letters)"
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - len(mark)] + mark


def link(client: "MlflowClient", run_id: str, artifact: Artifact) -> None:
    """Links a run to the artifact it made; the digest comes last, so that a run that has it has the rest."""
    client.log_inputs(run_id, [_dataset(read, artifact) for read in artifact.manifest.inputs])
    client.set_tag(run_id, "artifact", artifact.uri)
    client.set_tag(run_id, "digest", artifact.digest)


def _dataset(read: Input, artifact: Artifact) -> "DatasetInput":
    """An input of `artifact` as MLflow shows it; MLflow keeps at most 36 digits of a digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    uri = artifact.uri.removesuffix(artifact.version.place) + read.version.place
    dataset = Dataset(str(read.version.partition), read.digest[:36], "local", json.dumps({"uri": uri}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", read.role), InputTag("digest", read.digest)])


def register_checkpoint(client: "MlflowClient", run_id: str, artifact: Artifact, *, current: bool = True) -> None:
    """Registers the checkpoint in an artifact, if there is one; the current one under an alias for its iteration.

    Once a digest, or where it was registered in a home that has moved, once more under its new place.
    """
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
    place = own_place(client, artifact, folder)
    registered = client.search_model_versions(f"name = '{name}' and tags.digest = '{artifact.digest}'")
    version = next((found.version for found in registered if place in (None, found.source)), None)
    if version is None:
        tags = {"digest": artifact.digest, "asset": made.asset, "iteration": str(made.iteration)}
        source = place or _sent_copy(client, run_id, artifact, folder)
        version = client.create_model_version(name, source=source, run_id=run_id, tags=tags).version
    if current:
        client.set_registered_model_alias(name, f"iteration-{made.iteration}", version)


def sending_seconds(artifact: Artifact) -> float:
    """How much longer than usual `register_checkpoint` may take, for what it has to send."""
    return sum(entry.bytes for entry in artifact.manifest.files) / UPLOAD_SPEED


def checkpoint_folder(manifest: Manifest) -> str | None:
    """The folder of an artifact that `from_pretrained` can read, the outermost one; None if there is none."""
    paths = [PurePosixPath(entry.path) for entry in manifest.files]
    weights = {path.parent for path in paths if path.suffix == ".safetensors"}
    folders = [path.parent for path in paths if path.name == "config.json" and path.parent in weights]
    return str(min(folders, key=lambda folder: (len(folder.parts), folder))) if folders else None


def own_place(client: "MlflowClient", artifact: Artifact, folder: str) -> str | None:
    """Where MLflow finds the checkpoint in the store; None if it cannot look there and needs a copy."""
    if artifact.uri != str(artifact.path):
        return f"{artifact.uri}/{folder}".removesuffix("/.")
    return None if is_server(client.tracking_uri) else (artifact.path / folder).as_uri()


def _sent_copy(client: "MlflowClient", run_id: str, artifact: Artifact, folder: str) -> str:
    """Sends the checkpoint to the server, among the artifacts of its run; where it lies there."""
    client.log_artifacts(run_id, str(artifact.path / folder), "checkpoint")
    return f"{client.get_run(run_id).info.artifact_uri}/checkpoint"
