"""The optimisers: AdamW, or Muon for the weight matrices with AdamW for the rest."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch.distributed.fsdp import FSDPModule

from agentprm_dagster.engine.embedded.lean_layers import product_dtype
from agentprm_dagster.launch.sharding import ShardingError

OptimizerName = Literal["adamw", "muon"]


class BatchedMuon(torch.optim.Muon):
    """torch's Muon with one chain of products for all matrices of a shape instead of one each.

    A small model's matrices are so small that most of Muon's time goes into starting its operations. The products are
    torch's own, number for number, where they are in bfloat16; a processor that emulates it multiplies in float32.
    Median of 55 steps on quickstart's 14 matrices, one thread, such a processor: 15 ms, and 56 ms by torch's own step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of all groups."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for matrices in alike.values():
                self._step_alike(matrices, group)

    def _step_alike(self, matrices: list[torch.Tensor], group: dict[str, Any]) -> None:
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        momenta: list[torch.Tensor] = []
        for matrix in matrices:
            state = self.state[matrix]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(matrix)
            momenta.append(state["momentum_buffer"])
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        directions = orthogonalised(torch.stack(nesterov), group["ns_coefficients"], group["ns_steps"], group["eps"])
        # The step of `match_rms_adamw`: as large as AdamW's.
        size = 0.2 * math.sqrt(max(matrices[0].shape)) * group["lr"]
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(matrices, directions.to(matrices[0].dtype).unbind(), alpha=-size)


def orthogonalised(
    matrices: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """Muon's quintic Newton-Schulz iteration on each of (N, A, B), which brings singular values to about 1.

    On a CPU the products are in the type in which it is fast; elsewhere in bfloat16, as torch's are.
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.to(product_dtype() if matrices.device.type == "cpu" else torch.bfloat16)
    x = x.mT if tall else x
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class MuonAdamW(torch.optim.Optimizer):
    """Muon on the backbone's matrices, AdamW on embeddings, norms and heads.

    Muon orthogonalises each matrix's update; its step is scaled to AdamW's size, so one learning rate serves both.
    """

    def __init__(self, model: torch.nn.Module, *, learning_rate: float, weight_decay: float) -> None:
        matrices: list[torch.nn.Parameter] = []
        rest: list[torch.nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            in_backbone = parameter.ndim == 2 and "embed" not in name and "score" not in name and "lm_head" not in name
            (matrices if in_backbone else rest).append(parameter)
        self.parts: list[torch.optim.Optimizer] = [
            BatchedMuon(
                matrices, lr=learning_rate, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=_fused(rest)),
        ]
        super().__init__(self._groups(), {})

    def _groups(self) -> list[dict[str, Any]]:
        """The parts' own groups, not copies: a schedule that sets their learning rates reaches the parts."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of both parts."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores both parts."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        # Loading gives the parts new groups; accelerate loads as soon as it wraps an optimiser.
        self.param_groups = self._groups()


def build_optimizer(
    model: torch.nn.Module, name: OptimizerName, *, learning_rate: float, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """The named optimiser over all of a model's parameters that are trained."""
    if name == "muon" and isinstance(model, FSDPModule):
        raise ShardingError(
            "Muon needs whole matrices, and training.strategy: fsdp2 spreads them: fsdp2 needs optimizer: adamw"
        )
    if name == "muon":
        return MuonAdamW(model, learning_rate=learning_rate, weight_decay=weight_decay)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay, fused=_fused(parameters)
    )


def _fused(parameters: Sequence[torch.nn.Parameter]) -> bool | None:
    """One kernel a step on NVIDIA's cards: torch's choice there holds another copy of all parameters meanwhile."""
    return all(parameter.is_cuda for parameter in parameters) or None
