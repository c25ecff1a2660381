"""The files of a checkpoint folder that are read: weights in safetensors, configuration, tokenizer; nothing outside it.

A folder from elsewhere may name code to run, pickled weights or files of this machine. Such a folder is refused before
any library reads it.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.tiktoken", "*.txt")
"""What a checkpoint is loaded from: weights, configuration, tokenizer and chat templates."""

DTYPES = ("float32", "bfloat16", "float16")
"""The types of numbers that models are computed in."""

_ELSEWHERE = "special_tokens_map_file"
"""A path that old tokenizers carry along from where they were saved, which nothing reads."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, not in safetensors, or made for something else."""


def checkpoint_files(folder: Path) -> list[Path]:
    """Every file that loading the checkpoint can read, in a fixed order.

    Raises:
        CheckpointError: there are no weights in safetensors, or they would be read from elsewhere.
    """
    weights = weight_files(folder)
    files = {path for pattern in PATTERNS for path in folder.rglob(pattern) if path.is_file()}
    return sorted({*weights, *(path for path in files if path.suffix != ".safetensors")})


def weight_files(folder: Path) -> list[Path]:
    """The files of weights, which lie in the folder or below it.

    Raises:
        CheckpointError: there are none in safetensors, or they would be read from elsewhere.
    """
    for whole in (WEIGHTS, ADAPTER_WEIGHTS):
        if (folder / whole).is_file():
            return [folder / whole]
    if not (folder / INDEX).is_file():
        raise CheckpointError(
            f"{folder} holds no *.safetensors: expected a Hugging Face checkpoint folder with {WEIGHTS} or {INDEX}; "
            "convert other weights with transformers' save_pretrained"
        )
    named = read_object(folder / INDEX).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise CheckpointError(f"{folder / INDEX}: expected weight_map, the file of every weight, got {named!r}")
    return [_inside(folder, name) for name in sorted(set(map(str, named.values())))]


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.suffix != ".safetensors" or path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
        raise CheckpointError(
            f"{folder / INDEX} names {name!r}: expected weights in *.safetensors within the folder, which are there"
        )
    return folder / path


def is_adapter(folder: Path) -> bool:
    """Whether a checkpoint's folder holds an adapter (`engine.adapters`)."""
    return (folder / ADAPTER).is_file()


def require_plain_model(folder: Path) -> str:
    """The type of model (`config.json`) of a folder whose files say all that is computed.

    Raises:
        CheckpointError: it holds no model, an adapter, quantised weights, or asks for other code than transformers'.
    """
    if is_adapter(folder):
        raise CheckpointError(
            f"{folder} holds an adapter (adapter_config.json), which is not a model by itself: merge it into its base "
            "model (peft's merge_and_unload) and save that"
        )
    config = read_object(folder / "config.json")
    if "quantization_config" in config:
        raise CheckpointError(f"{folder} holds quantised weights: expected plain ones (float32, bfloat16 or float16)")
    for key in ("transformers_weights", "attn_implementation", "_attn_implementation", "experts_implementation"):
        if config.get(key) not in (None, "eager", "sdpa"):
            raise CheckpointError(f"{folder}/config.json asks for {key} {config[key]!r}: expected none; remove the key")
    return str(config.get("model_type"))


def dtype_of(folder: Path) -> str:
    """The type of numbers that a checkpoint was saved in (`config.json`), which engines compute it in.

    Raises:
        CheckpointError: it is none that is computed here.
    """
    config = read_object(folder / "config.json")
    dtype = config.get("dtype") or config.get("torch_dtype") or "float32"  # the second is what it was once called
    if dtype not in DTYPES:
        raise CheckpointError(f"{folder}/config.json: expected a dtype of {', '.join(DTYPES)}, got {dtype!r}")
    return str(dtype)


def require_plain_tokenizer(folder: Path) -> None:
    """Raises CheckpointError where a tokenizer would be read from files outside of the folder."""
    settings = folder / "tokenizer_config.json"
    if not settings.exists():
        return
    for key, name in _named_files(read_object(settings)):
        if PurePosixPath(name).name != name or "\\" in name or not (folder / name).is_file():
            raise CheckpointError(f"{settings} names the {key} {name!r}: expected a file in {folder}; remove the key")


def _named_files(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if key.endswith(("_file", "_files")) and key != _ELSEWHERE and value is not None:
            yield from ((key, str(name)) for name in (value if isinstance(value, list) else [value]))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file's content; CheckpointError where it holds no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected a JSON file of a Hugging Face checkpoint ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
