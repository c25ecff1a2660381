"""A GPU that computes nothing: torch's fake tensors, and how many bytes of them live at once.

It needs no GPU and no CUDA build of torch. Where torch was built without CUDA, autograd cannot follow fake tensors that
say they lie on it: these say `cpu`, and nothing real is among them. What a GPU's kernels would choose is chosen here as
they would: flash attention without a mask, memory-efficient attention under one, the fused AdamW.
"""

import weakref
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from agentprm_dagster.engine.adapters import Base, add
from agentprm_dagster.engine.settings import Lora, Model

_aten = torch.ops.aten


_AdamW = torch.optim.AdamW


def _fused(*args: Any, **kwargs: Any) -> torch.optim.AdamW:
    return _AdamW(*args, **{**kwargs, "fused": True})


class FakeGpu(TorchDispatchMode):
    """Within it the storages of fake tensors are counted from the first to the last use."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.live = self.peak = 0
        """Bytes."""
        self._sizes: dict[int, int] = {}
        FakeTensor.tolist = lambda tensor: [0.5] * len(tensor)  # type: ignore[method-assign,assignment]
        torch.nn.functional.scaled_dot_product_attention = _attend
        torch.optim.AdamW = _fused  # type: ignore[assignment,misc]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return 1.0  # a number to watch
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, FakeTensor):
                self.follow(tensor.untyped_storage())
        return out

    def empty(self, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        """A tensor on it."""
        with self.fake:
            made = torch.empty(shape, dtype=dtype)
        self.follow(made.untyped_storage())
        return made

    def follow(self, storage: torch.UntypedStorage) -> None:
        """Counts a storage, once, until it is freed."""
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    if torch.is_autocast_enabled("cpu"):
        low = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(low), key.to(low), value.to(low)
    if attn_mask is None:
        out: torch.Tensor = _aten._scaled_dot_product_flash_attention(query, key, value, 0.0, is_causal, scale=scale)[0]
        return out
    mask = attn_mask.to(query.dtype).expand(-1, query.shape[1], -1, -1)
    mixed: torch.Tensor = _aten._scaled_dot_product_efficient_attention(query, key, value, mask, True, scale=scale)[0]
    return mixed


def model_on(
    gpu: FakeGpu, kind: Any, config: Any, dtype: torch.dtype = torch.float32, rank: int | None = None
) -> PreTrainedModel:
    """A model of a class and config, its weights on the fake GPU; with an adapter of a rank that is in float32."""
    with torch.device("meta"):
        model: PreTrainedModel = kind(config)
        if rank:
            add(model, Lora(rank=rank), Base(model=Model(name="fake"), digest=""), seed=0)
    moved: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:  # a tied one stays tied
                if weight not in moved:
                    own = torch.float32 if rank and weight.requires_grad else dtype
                    moved[weight] = torch.nn.Parameter(gpu.empty(weight.shape, own), weight.requires_grad)
                module._parameters[name] = moved[weight]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = gpu.empty(buffer.shape, buffer.dtype)
    return model
