"""The device that is measured: its peak, its memory, when it is done, and where a program waits for it."""

import gc
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from agentprm_dagster.processor import processor

PEAKS = {
    "H200 NVL": 835,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
}
"""Dense products in bfloat16 of NVIDIA's cards, 10^12 operations a second by their data sheets; by a part of the name
that torch gives them, the first that fits.
"""


@dataclass(frozen=True)
class Card:
    """A GPU, or the CPU in its place."""

    device: torch.device
    peak: float | None
    """10^12 operations a second of dense products in bfloat16; None where nobody knows."""

    @classmethod
    def of(cls, device: str, peak: float | None) -> "Card":
        """The named device, with its data sheet's peak where none is given."""
        card = cls(torch.device(device), peak)
        known = (value for part, value in PEAKS.items() if part in card.name)
        return cls(card.device, peak or next(known, None))

    @property
    def is_gpu(self) -> bool:
        """Whether it is one."""
        return self.device.type == "cuda"

    @property
    def name(self) -> str:
        """As its driver gives it."""
        return torch.cuda.get_device_name(self.device) if self.is_gpu else processor()

    def settle(self) -> None:
        """Waits until all that was asked of it is done."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def free(self) -> None:
        """Gives back what nobody holds, and counts memory anew."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_gb(self) -> float | None:
        """The most memory that tensors took since `free`, in 10^9 bytes; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) / 1e9 if self.is_gpu else None


@contextmanager
def counted_waits(card: Card) -> Iterator[Counter[str]]:
    """Counts by line of the package how often the program waits for the GPU meanwhile; nothing on a CPU.

    torch knows of copies to and from the host and of what asks for a tensor's numbers or its size.
    """
    found: Counter[str] = Counter()

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        if "called a synchronizing" in str(message):
            found[_line()] += 1

    if not card.is_gpu:
        yield found
        return
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")


def _line() -> str:
    """The innermost line of the package on the stack, else of whatever it is."""
    stack = traceback.extract_stack()[:-2]
    package = [frame for frame in stack if "/agentprm_dagster/" in frame.filename.replace("\\", "/")]
    frame = (package or stack)[-1]
    return f"{frame.filename.rpartition('agentprm_dagster/')[2]}:{frame.lineno}"
