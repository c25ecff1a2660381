"""The pretrained model that an experiment begins with: where its checkpoint lies, and what identifies its bytes."""

import hashlib
from pathlib import Path

from agentprm_dagster.config import Model

_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""What a checkpoint is loaded from: weights, configuration, tokenizer and chat template."""


class BaseModelError(FileNotFoundError):
    """A pretrained model that is not there."""


def base_folder(model: Model) -> Path:
    """The folder of a model's checkpoint: SmolLM2's, a local one, or the snapshot of a hub model (`model.revision`).

    Raises:
        BaseModelError: the hub model is neither in the cache nor can be fetched.
        SmolLM2MissingError: the packages with SmolLM2 are not installed.
    """
    if model.name == "smollm2":
        from agentprm_dagster.models.smollm2 import smollm2_folder  # loads torch

        return smollm2_folder()
    if Path(model.name).is_dir():
        return Path(model.name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model.name, revision=model.revision, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise BaseModelError(
            f"model.name: {model.name} is no folder here, and the hub's model of that name"
            f"{f' at {model.revision}' if model.revision else ''} is not in the cache: set HF_HUB_OFFLINE=0 to fetch it"
        ) from error


def base_identity(model: Model) -> dict[str, str]:
    """What a recipe says of the weights that are not made here, by their bytes; nothing of the embedded model."""
    if model.name == "embedded":
        return {}
    folder, digest = base_folder(model), hashlib.sha256()
    for path in sorted(path for pattern in _FILES for path in folder.glob(pattern)):
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return {"base_model": digest.hexdigest()}
