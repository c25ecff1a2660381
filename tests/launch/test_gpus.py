"""Which GPUs a process has computed on; where there is none, torch's counts are stood in for."""

from types import SimpleNamespace

import pytest
import torch

from agentprm_dagster.launch.gpus import Gpu, gpus, gpus_used


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often memory of each of two GPUs was asked for."""
    counts = [5, 0]
    told = {
        "is_initialized": lambda: True,
        "device_count": lambda: len(counts),
        "memory_stats": lambda i: {"allocation.all.allocated": counts[i]} if counts[i] else {},
        "get_device_properties": lambda i: SimpleNamespace(name=f"GPU {i}", total_memory=2**30),
    }
    for name, function in told.items():
        monkeypatch.setattr(torch.cuda, name, function)
    return counts


def test_the_cpu_is_none() -> None:
    with gpus_used() as used:
        assert float(torch.ones(3).sum()) == 3
    assert used == []


def test_those_whose_memory_is_asked_for_are_named(counts: list[int]) -> None:
    assert gpus() == [Gpu("GPU 0", 2**30), Gpu("GPU 1", 2**30)]
    with gpus_used() as used:
        pass
    assert used == []
    with gpus_used() as used:
        counts[1] += 1
    assert used == ["GPU 1"]
