"""The pretrained model that an experiment begins with: where its checkpoint lies, and what identifies its bytes."""

import hashlib
from os.path import expanduser
from pathlib import Path

from agentprm_dagster.engine.checkpoint_files import PATTERNS, checkpoint_files
from agentprm_dagster.engine.settings import Model
from agentprm_dagster.engine.templates import NOW


class BaseModelError(FileNotFoundError):
    """A pretrained model that is not there."""


def base_folder(model: Model) -> Path:
    """The folder of a model's checkpoint: SmolLM2's, a local one, or the snapshot of a hub model (`model.revision`).

    Raises:
        BaseModelError: the hub model is neither in the cache nor can be fetched.
        SmolLM2MissingError: the packages with SmolLM2 are not installed.
    """
    if model.name == "smollm2":
        from agentprm_dagster.engine.smollm2 import smollm2_folder  # loads torch

        return smollm2_folder()
    folder = Path(expanduser(model.name))  # noqa: PTH111  # never fails
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model.name, revision=model.revision, allow_patterns=list(PATTERNS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise BaseModelError(
            f"model.name: {model.name} is no folder here, and the hub's model of that name"
            f"{f' at {model.revision}' if model.revision else ''} is not in the cache: set HF_HUB_OFFLINE=0 to fetch it"
        ) from error


def base_identity(model: Model) -> dict[str, str]:
    """What a recipe says of a model that is not made here: its bytes, and what its chat template takes for the time.

    Nothing of the embedded model.

    Raises:
        CheckpointError: the folder holds no weights in safetensors, or names others.
    """
    if model.name == "embedded":
        return {}
    folder, digest = base_folder(model), hashlib.sha256()
    for path in checkpoint_files(folder):
        with path.open("rb") as file:
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return {"base_model": digest.hexdigest(), "chat_template_time": NOW.isoformat()}
