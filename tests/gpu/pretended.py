"""An accelerator made of the CPU's memory: what a real one would refuse is noted with the line that asked for it.

A tensor on it is computed on the CPU and says that it lies on `pretended:0`. An operation whose tensors lie on two
devices, which CUDA refuses, is noted and carried out, so that one run finds all of them. What CUDA allows is allowed:
index tensors and single numbers of the CPU's, and copies between devices.
"""

import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("pretended")
torch.get_device_module("pretended").get_amp_supported_dtype = lambda: [torch.bfloat16]  # for torch.autocast
torch._C._set_only_lift_cpu_tensors(True)  # constants of a model on the device are not lifted to it

DEVICE = torch.device("pretended:0")
refused: Counter[str] = Counter()
"""How often which operation, in which line."""

_aten = torch.ops.aten
_INDEXING = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}
_COPIES = {_aten.copy_.default, _aten._to_copy.default, _aten.copy.default}


class OnDevice(torch.Tensor):
    """A tensor on the device; `inner` holds its numbers."""

    inner: torch.Tensor  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "OnDevice":
        made: OnDevice = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            requires_grad=inner.requires_grad,
        )
        return made

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner.detach()

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})


class Pretended(TorchDispatchMode):
    """Within it tensors can be made on the device and moved to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def put(model: torch.nn.Module) -> None:
    """Moves a model's parameters and buffers to the device."""
    moved: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:  # a tied one stays tied
                on_device = torch.nn.Parameter(OnDevice(parameter.data), requires_grad=parameter.requires_grad)
                module._parameters[name] = moved.setdefault(id(parameter), on_device)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = OnDevice(buffer)


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    leaves, spec = tree_flatten((args, kwargs))
    here = any(isinstance(leaf, OnDevice) for leaf in leaves)
    target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    if here and func not in _COPIES and _mixes(func, args, leaves):
        refused[f"{func} in {_where()}"] += 1
    real_args, real_kwargs = tree_unflatten([_inner(leaf) for leaf in leaves], spec)
    if target is not None:
        real_kwargs = {**real_kwargs, "device": torch.device("cpu")}
    out = func(*real_args, **real_kwargs)
    if func._schema.is_mutable and args and isinstance(args[0], torch.Tensor) and out is real_args[0]:
        return args[0]
    to_device = here if target is None else target.type == DEVICE.type
    if func is _aten.copy_.default:
        to_device = isinstance(args[0], OnDevice)
    return tree_map(_outer, out) if to_device else out


def _mixes(func: Any, args: Sequence[Any], leaves: Sequence[Any]) -> bool:
    """Whether an operation reads tensors of the CPU beside those of the device, where it may not."""
    others = [
        leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, OnDevice) and leaf.dim()
    ]
    if func not in _INDEXING:
        return bool(others)
    values = args[2:3]
    return any(other is args[0] or any(other is value for value in values) for other in others)


def _inner(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, OnDevice) else leaf


def _outer(leaf: Any) -> Any:
    return OnDevice(leaf) if isinstance(leaf, torch.Tensor) and not isinstance(leaf, OnDevice) else leaf


def _where() -> str:
    """The innermost line of the package on the stack."""
    for frame in reversed(traceback.extract_stack()):
        if "/agentprm_dagster/" in frame.filename:
            return f"{frame.filename.rpartition('/agentprm_dagster/')[2]}:{frame.lineno}: {frame.line}"
    return "no line of the package"
