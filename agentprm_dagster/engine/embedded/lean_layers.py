"""Llama layers that train faster on a CPU: equal to the stock ones, without keeping what is cheap to compute again.

A small model's products are cheap and its activations are large beside a core's cache: stock layers spend most of
their time carrying activations to memory and back. Here a layer is three steps around attention, each with its own
backward pass: the norm with queries, keys and values; the output of attention with its residual; the norm with the
gated feed-forward network and its residual. Each keeps its input alone, and multiplies in the type in which this
processor is fast (`processor.product_type`); weights, their updates, norms, attention and the residual stream are in
float32. Where that type is float32 it is about as fast as the stock layers and keeps less.
"""

from typing import Any

import torch
from torch.nn.functional import silu
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import ALL_ATTENTION_FUNCTIONS, LlamaDecoderLayer, eager_attention_forward

from agentprm_dagster.processor import product_type

SHAPE_STEP = 32
"""Rows are best padded to a multiple of this: the first product of each new shape in bfloat16 takes milliseconds."""

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine (B or 1, T, d)."""


def use_lean_layers(model: PreTrainedModel) -> None:
    """Switches a loaded Llama to lean layers, other models not; its checkpoint is not affected."""
    for layer in getattr(model.base_model, "layers", ()):
        if type(layer) is LlamaDecoderLayer and _is_plain(layer):
            layer.__class__ = LeanLlamaLayer


def _is_plain(layer: LlamaDecoderLayer) -> bool:
    config = layer.self_attn.config
    linear = (each for name, each in layer.named_modules() if name.endswith("_proj"))
    if not all(type(each) is torch.nn.Linear for each in linear):  # an adapter stands beside it
        return False
    return config.hidden_act == "silu" and not (config.attention_bias or config.mlp_bias or config.attention_dropout)


class LeanLlamaLayer(LlamaDecoderLayer):
    """A stock layer with another forward; with a cache of keys and values, or off the CPU, the stock one."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = False,
        position_embeddings: Rotation | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Hidden states (B, T, H) -> (B, T, H)."""
        if past_key_values is not None or position_embeddings is None or hidden_states.device.type != "cpu":
            return super().forward(
                hidden_states,
                attention_mask,
                position_ids,
                past_key_values,
                use_cache,
                position_embeddings=position_embeddings,
                **kwargs,
            )
        attention, norm = self.self_attn, self.input_layernorm
        weights = (attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)
        read = Projections.apply(hidden_states, norm.weight, *weights, norm.variance_epsilon)
        query, key, value = (x.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for x in read)
        query, key = Rotate.apply(query, *position_embeddings), Rotate.apply(key, *position_embeddings)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager_attention_forward)
        mixed, _ = attend(attention, query, key, value, attention_mask, scaling=attention.scaling, **kwargs)
        hidden = AddProduct.apply(hidden_states, mixed.flatten(2), attention.o_proj.weight)
        norm, mlp = self.post_attention_layernorm, self.mlp
        weights = (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)
        result: torch.Tensor = AddFeedForward.apply(hidden, norm.weight, *weights, norm.variance_epsilon)
        return result


def product_dtype() -> torch.dtype:
    """What products are computed in (`processor.product_type`)."""
    dtype: torch.dtype = getattr(torch, product_type())
    return dtype


def _outer(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A weight's gradient (O, I) from those of its outputs (B, T, O) and its inputs (B, T, I)."""
    return (grad.flatten(0, 1).T @ x.flatten(0, 1)).float()


def _low(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.to(product_dtype()) for tensor in tensors]


def _normed(x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """x (..., H) with a root mean square of 1, and what it was multiplied by (..., 1)."""
    factor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return x * factor, factor


def _norm_backward(
    grad: torch.Tensor, normed: torch.Tensor, factor: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of x and of `scale` from that of `normed * scale`."""
    both = grad * normed
    mean = (both @ scale).div_(len(scale))
    of_x = (grad * scale).addcmul_(normed, mean[..., None], value=-1).mul_(factor)
    return of_x, both.flatten(0, -2).sum(0)


class Projections(torch.autograd.Function):
    """RMSNorm, then three linear maps of it: (B, T, H) -> (B, T, heads d), (B, T, kv d), (B, T, kv d)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(x, scale, q, k, v)
        ctx.eps = eps
        weight = torch.cat(_low(q, k, v))
        read = (_normed(x, eps)[0] * scale).to(weight.dtype) @ weight.T
        return read.float().split((len(q), len(k), len(v)), -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale, q, k, v = ctx.saved_tensors
        weight = torch.cat(_low(q, k, v))
        normed, factor = _normed(x, ctx.eps)
        grad = torch.cat(_low(*grads), -1)
        of_weights = _outer(grad, (normed * scale).to(weight.dtype)).split((len(q), len(k), len(v)))
        return *_norm_backward((grad @ weight).float(), normed, factor, scale), *of_weights, None


class Rotate(torch.autograd.Function):
    """Rotary positions: (B, heads, T, d) turned by angles (B or 1, T, d)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        sine = torch.cat((-sine[..., :half], sine[..., half:]), -1)
        ctx.save_for_backward(cosine, sine)
        return _turned(x, cosine, sine)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cosine, sine = ctx.saved_tensors
        return _turned(grad, cosine, -sine), None, None


def _turned(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    swapped = x.roll(x.shape[-1] // 2, -1)
    return (x * cosine[:, None]).addcmul_(swapped, sine[:, None])


class AddProduct(torch.autograd.Function):
    """x + y W^T: (B, T, H), (B, T, I), (H, I) -> (B, T, H)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(y, weight)
        y, weight = _low(y, weight)
        return (y @ weight.T).float().add_(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y, weight, low = _low(*ctx.saved_tensors, grad)
        return grad, (low @ weight).float(), _outer(low, y)


class AddFeedForward(torch.autograd.Function):
    """x + W_down (silu(W_gate n) * W_up n) with n = RMSNorm(x): (B, T, H) -> (B, T, H)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        scale: torch.Tensor,
        gate: torch.Tensor,
        up: torch.Tensor,
        down: torch.Tensor,
        eps: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, scale, gate, up, down)
        ctx.eps = eps
        gate, up, down = _low(gate, up, down)
        read = (_normed(x, eps)[0] * scale).to(gate.dtype)
        return (silu(read @ gate.T).mul_(read @ up.T) @ down.T).float().add_(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale, *weights = ctx.saved_tensors
        gate, up, down, low = _low(*weights, grad)
        normed, factor = _normed(x, ctx.eps)
        read = (normed * scale).to(gate.dtype)
        opened, lifted, inner = read @ gate.T, read @ up.T, low @ down
        active = silu(opened)
        of_down = _outer(low, active * lifted)
        by_up = active.mul_(inner)
        by_gate = torch.ops.aten.silu_backward(inner.mul_(lifted), opened)
        of_read = (by_gate @ gate).float().add_((by_up @ up).float())
        of_x, of_scale = _norm_backward(of_read, normed, factor, scale)
        return of_x.add_(grad), of_scale, _outer(by_gate, read), _outer(by_up, read), of_down, None
