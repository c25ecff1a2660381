"""A training's whole state in one safetensors file, so that what was killed goes on and ends with the same bytes.

Tensors are stored as they are; all else that the states hold (numbers, texts, lists, mappings) is JSON in the file's
header. The file is written beside the last one and renamed over it: a kill leaves one of the two.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from agentprm_dagster.episodes.stage import Resume
from agentprm_dagster.launch.ranks import from_first, is_first

_log = logging.getLogger(__name__)

_BETWEEN = 20
"""Times as long as it takes to save, at least, between two saves: three copies of a large model are many gigabytes."""


class Stateful(Protocol):
    """What can be stored and restored, by torch's convention."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how it goes on: tensors, numbers, texts, None, and mappings and lists of them."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Goes on from what `state_dict` answered."""


class Weights:
    """A model's parameters that are trained, each once; restored where they are, as other processes may share them."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}

    def state_dict(self) -> dict[str, Any]:
        """The parameters by name, whole where they are spread over processes."""
        return {
            name: parameter.full_tensor() if isinstance(parameter, DTensor) else parameter.detach()
            for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copies the values."""
        for name, parameter in self._parameters.items():
            value = state_dict[name]
            if isinstance(parameter, DTensor):
                value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
            parameter.copy_(value)


class Moments:
    """An optimizer's state, whole where it is spread over processes."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._whole = StateDictOptions(full_state_dict=True, cpu_offload=True)

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's own, or of a spread model by its weights' names."""
        if isinstance(self._model, FSDPModule):
            return get_optimizer_state_dict(self._model, self._optimizer, options=self._whole)
        return self._optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` answered."""
        if isinstance(self._model, FSDPModule):
            set_optimizer_state_dict(self._model, self._optimizer, state_dict, options=self._whole)
        else:
            self._optimizer.load_state_dict(state_dict)


class Snapshots:
    """Saves some states every so often, and restores the last that was saved."""

    def __init__(self, resume: Resume | None, states: Mapping[str, Stateful]) -> None:
        """Without `resume` nothing is saved."""
        self._resume, self._states = resume, states
        self._due = monotonic() + resume.seconds if resume else float("inf")

    def restore(self) -> int:
        """Brings the states to where they were saved; the number of steps done by then, 0 where nothing was saved."""
        saved = load(self._file) if self._resume and self._file.exists() else None
        if saved is None:
            return 0
        for name, state in self._states.items():
            state.load_state_dict(saved[name])
        return int(saved["steps"])

    def after(self, steps: int) -> None:
        """Saves after so many steps, if it is time to; of several processes the first one says so, and writes."""
        begun = monotonic()
        if not self._resume or not from_first(begun >= self._due):
            return
        state = {"steps": steps, **{name: state.state_dict() for name, state in self._states.items()}}
        if is_first():
            save(state, self._file)
        done = monotonic()
        self._due = done + (self._resume.seconds and max(self._resume.seconds, _BETWEEN * (done - begun)))

    @property
    def _file(self) -> Path:
        assert self._resume
        return self._resume.folder / "snapshot.safetensors"


def save(state: Mapping[str, Any], path: Path) -> None:
    """Writes a state in one step; the folder is made."""
    tensors: dict[str, torch.Tensor] = {}

    def plain(value: Any) -> Any:
        """The value as JSON, with the names of its tensors."""
        if isinstance(value, torch.Tensor):
            name = str(len(tensors))
            tensors[name] = value.detach().to("cpu", copy=True).contiguous()  # a GPU has no room for it twice
            return {"tensor": name}
        if isinstance(value, Mapping):  # as pairs: JSON knows no keys but texts
            return {"mapping": [[key, plain(each)] for key, each in value.items()]}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return value

    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    header = {"state": json.dumps(plain(state))}
    save_file(tensors, new, metadata=header)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(path)


def load(path: Path) -> dict[str, Any] | None:
    """What `save` wrote; None, and a warning, where the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return _restored(json.loads(file.metadata()["state"]), file.get_tensor)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s cannot be gone on from (%s): the work begins anew", path, error)
        return None


def _restored(value: Any, tensor: Callable[[str], torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(each, tensor) for each in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensor(value["tensor"])
        return {key: _restored(each, tensor) for key, each in value["mapping"]}
    return value
