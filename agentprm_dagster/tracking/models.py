"""Checkpoints as MLflow knows them: a LoggedModel each, and a version of a registered model that is loaded.

A LoggedModel carries the numbers by which `mlflow.search_logged_models` ranks, and the links to runs, data sets and
traces. It is external (what `mlflow.create_external_model` makes): a flavour would copy every checkpoint, gigabytes of
them, out of a store that never changes one. What is loaded is the registered version: `models:/<name>@iteration-<i>`
resolves to the artifact's own folder, which `from_pretrained` reads. Only an MLflow server, which accepts no folder of
another machine, is sent a copy.
"""

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from upath import UPath

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import MANIFEST, Input, Manifest
from agentprm_dagster.tracking.pages import NOTE, summary
from agentprm_dagster.tracking.uri import is_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

UPLOAD_SPEED = 1e6
"""Bytes a second, below which the way to a server is given up."""
CHAMPION = "champion"
"""The alias of the policy that was promoted last."""
EXTERNAL = "mlflow.model.isExternal"
"""The tag by which MLflow knows a model whose files it does not keep."""


def checkpoint_folder(manifest: Manifest) -> str | None:
    """The folder of an artifact that `from_pretrained` can read, the outermost one; None if there is none."""
    paths = [PurePosixPath(entry.path) for entry in manifest.files]
    weights = {path.parent for path in paths if path.suffix == ".safetensors"}
    folders = [path.parent for path in paths if path.name == "config.json" and path.parent in weights]
    return str(min(folders, key=lambda folder: (len(folder.parts), folder))) if folders else None


def beside(artifact: Artifact, read: Input) -> Artifact:
    """An input of an artifact, from the same store. Its files are not checked, nor fetched from a remote one.

    Raises:
        ArtifactError, OSError: its manifest cannot be read.
    """
    place = artifact.version.place
    folder = Path(str(artifact.path).removesuffix(place)) / read.version.place
    uri = artifact.uri.removesuffix(place) + read.version.place
    manifest = Manifest.from_json((UPath(uri) / MANIFEST).read_text(encoding="utf-8"))
    return Artifact(manifest, folder, uri)


def logged_model(client: "MlflowClient", experiment_id: str, artifact: Artifact, run_id: str | None = None) -> str:
    """The id of the LoggedModel of the checkpoint in an artifact, made where MLflow has none of its digest."""
    made = artifact.manifest
    found = client.search_logged_models([experiment_id], filter_string=f"tags.digest = '{made.digest}'")
    if found:
        return found[0].model_id
    tags = {
        EXTERNAL: "true",
        NOTE: summary(artifact),
        "digest": made.digest,
        "asset": made.asset,
        "iteration": str(made.iteration),
        "artifact": artifact.uri,
        "key": made.key,
    }
    name, kind = f"{made.asset}-{made.iteration}", "policy" if is_policy(made.asset) else "reward_model"
    model = client.create_logged_model(experiment_id, name, run_id, tags, model_type=kind)
    return client.finalize_logged_model(model.model_id, "READY").model_id


def policy_models(client: "MlflowClient", experiment_id: str, artifact: Artifact) -> dict[int, str]:
    """The LoggedModels of the policies that an artifact was made from, by iteration, pi_0 under 0."""
    read = [beside(artifact, made) for made in artifact.manifest.inputs if is_policy(made.asset)]
    with_weights = [policy for policy in read if checkpoint_folder(policy.manifest)]
    return {policy.manifest.iteration: logged_model(client, experiment_id, policy) for policy in with_weights}


def is_policy(asset: str) -> bool:
    """Whether what an asset makes is a policy of the loop."""
    return asset.endswith("_policy")


def registered_name(manifest: Manifest) -> str:
    """`smoke-policy`, of which pi_0 and all that were improved are versions; `smoke-prm`."""
    return f"{manifest.experiment}-{'policy' if is_policy(manifest.asset) else manifest.asset}"


def register_checkpoint(
    client: "MlflowClient", run_id: str | None, artifact: Artifact, *, current: bool = True
) -> str | None:
    """Registers the checkpoint in an artifact, if there is one; the current one under an alias for its iteration.

    Once a digest, or where it was registered in a home that has moved, once more under its new place. The version.
    """
    from mlflow import MlflowException

    made, folder = artifact.manifest, checkpoint_folder(artifact.manifest)
    if folder is None:
        return None
    name = registered_name(made)
    try:
        client.create_registered_model(name, description=f"The {name.rpartition('-')[2]} of {made.experiment}")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    place = own_place(client, artifact, folder)
    registered = client.search_model_versions(f"name = '{name}' and tags.digest = '{artifact.digest}'")
    version = next((found.version for found in registered if place in (None, found.source)), None)
    if version is None:
        tags = {"digest": artifact.digest, "asset": made.asset, "iteration": str(made.iteration)}
        source = place or _sent_copy(client, run_id, artifact, folder)
        said = summary(artifact)
        version = client.create_model_version(name, source, run_id=run_id, tags=tags, description=said).version
    if current:
        client.set_registered_model_alias(name, f"iteration-{made.iteration}", version)
    return str(version)


def crown(client: "MlflowClient", artifact: Artifact) -> None:
    """Gives the alias `champion` to the version of a policy; nothing else moves it.

    Raises:
        ValueError: the artifact holds no checkpoint.
    """
    version = register_checkpoint(client, artifact.manifest.mlflow_run_id, artifact, current=False)
    if version is None:
        raise ValueError(f"expected a policy with a checkpoint to be {CHAMPION}, got {artifact.version}")
    client.set_registered_model_alias(registered_name(artifact.manifest), CHAMPION, version)


def sending_seconds(artifact: Artifact) -> float:
    """How much longer than usual `register_checkpoint` may take, for what it has to send."""
    return sum(entry.bytes for entry in artifact.manifest.files) / UPLOAD_SPEED


def own_place(client: "MlflowClient", artifact: Artifact, folder: str) -> str | None:
    """Where MLflow finds the checkpoint in the store; None if it cannot look there and needs a copy."""
    if artifact.uri != str(artifact.path):
        return f"{artifact.uri}/{folder}".removesuffix("/.")
    return None if is_server(client.tracking_uri) else (artifact.path / folder).as_uri()


def _sent_copy(client: "MlflowClient", run_id: str | None, artifact: Artifact, folder: str) -> str:
    """Sends the checkpoint to the server, among the artifacts of its run; where it lies there."""
    if run_id is None:
        raise ValueError(
            f"{artifact.version} has no run yet to send its checkpoint to: `agentprm mlflow sync` makes it"
        )
    client.log_artifacts(run_id, str(artifact.path / folder), "checkpoint")
    return f"{client.get_run(run_id).info.artifact_uri}/checkpoint"
