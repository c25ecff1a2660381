"""Where a model is trained, and with how many threads on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

_SMALL = 5_000_000
"""Parameters below which operations are so short that a second thread costs more than it does."""


def is_small(model: PreTrainedModel) -> bool:
    """Whether a model is on a CPU and gains nothing from a second thread."""
    return model.device.type == "cpu" and sum(parameter.numel() for parameter in model.parameters()) < _SMALL


def place(model: PreTrainedModel) -> None:
    """Moves a model to a GPU, where there is one that it gains from."""
    if torch.cuda.is_available() and not is_small(model):
        model.to("cuda")


@contextmanager
def training_threads(model: PreTrainedModel) -> Iterator[None]:
    """One thread for a small model on a CPU, torch's choice for any other.

    With one, the weights that come out do not depend on how many cores a machine has.
    """
    before = torch.get_num_threads()
    if is_small(model):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
