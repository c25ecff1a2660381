"""The GPUs that torch sees, and those that this process has computed on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Gpu(NamedTuple):
    """A GPU of this machine."""

    name: str
    bytes: int
    """Of its memory."""


def gpus() -> list[Gpu]:
    """Those that torch sees, `cuda:0` first."""
    import torch  # seconds to import

    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [Gpu(each.name, each.total_memory) for each in found]


@contextmanager
def gpus_used() -> Iterator[list[str]]:
    """The names of the GPUs whose memory this process asks for within it; the list is filled at its end."""
    before, used = _allocations(), list[str]()
    yield used
    counts = _allocations()
    if any(count > before.get(i, 0) for i, count in counts.items()):
        names = [gpu.name for gpu in gpus()]
        used += [names[i] for i, count in counts.items() if count > before.get(i, 0)]


def _allocations() -> dict[int, int]:
    """How often this process has asked for memory of each GPU; torch is not imported, and no GPU woken, to tell."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {i: torch.cuda.memory_stats(i).get("allocation.all.allocated", 0) for i in range(torch.cuda.device_count())}
