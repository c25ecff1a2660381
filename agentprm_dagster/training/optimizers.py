"""The optimisers: AdamW, or Muon for the weight matrices with AdamW for the rest."""

from collections.abc import Callable
from typing import Any, Literal

import torch

OptimizerName = Literal["adamw", "muon"]


class MuonAdamW(torch.optim.Optimizer):
    """Muon (torch.optim.Muon) on the trunk's matrices, AdamW on embeddings, norms and heads.

    Muon orthogonalises each matrix's update; its step is scaled to AdamW's size, so one learning rate serves both.
    """

    def __init__(self, model: torch.nn.Module, *, learning_rate: float, weight_decay: float) -> None:
        matrices: list[torch.nn.Parameter] = []
        rest: list[torch.nn.Parameter] = []
        for name, parameter in model.named_parameters():
            in_trunk = parameter.ndim == 2 and "embed" not in name and "score" not in name and "lm_head" not in name
            (matrices if in_trunk else rest).append(parameter)
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                matrices, lr=learning_rate, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
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
    """The named optimiser over all of a model's parameters."""
    if name == "muon":
        return MuonAdamW(model, learning_rate=learning_rate, weight_decay=weight_decay)
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay)
