"""What a compute asks for and this machine lacks is told with what to do."""

import re
import sys
from typing import Any

import pytest

from agentprm_dagster.config import Compute
from agentprm_dagster.config.catalog import load_compute
from agentprm_dagster.launch.gpus import Gpu
from agentprm_dagster.stages.available import MissingError, lacks, require

SERVERS = {"policy_url": "http://127.0.0.1:8000", "prm_url": "http://127.0.0.1:8001"}


NO_RAY = ["Ray, which is not installed", "a Ray cluster, and RAY_ADDRESS names none"]


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentprm_dagster.stages.available.gpus", lambda: [Gpu("one", 2**30), Gpu("two", 2**30)])
    monkeypatch.setattr("agentprm_dagster.stages.available.find_spec", lambda name: None)
    for name in ("AGENTPRM_VLLM", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, []),
        ({"training": {"device": "cuda:1"}}, []),
        ({"training": {"device": "cuda:2"}}, ["training.device: cuda:2, and torch sees 2 GPUs"]),
        ({"engine": {"kind": "transformers", "device": "cuda:9"}}, ["engine.device: cuda:9, and torch sees 2 GPUs"]),
        ({"training": {"launch": "torchrun", "processes": 2}}, []),
        (
            {"training": {"launch": "torchrun", "processes": 3}},
            ["training.processes: 3, and torch sees 2 GPUs, one for each"],
        ),
        ({"training": {"device": "cpu", "launch": "torchrun", "processes": 3}}, []),
        ({"engine": {"kind": "vllm"}}, ["vLLM, which is not here"]),
        ({"playing": {"launch": "ray"}}, NO_RAY),
        ({"training": {"launch": "ray", "device": "cuda", "processes": 3}}, NO_RAY),
        ({"engine": {"kind": "vllm", "launch": "ray"}}, [*NO_RAY, "vLLM, which is not here"]),
        ({"engine": {"kind": "vllm", **SERVERS}}, []),
    ],
)
def test_what_is_lacking(settings: dict[str, Any], missing: list[str]) -> None:
    compute = Compute.model_validate({"name": "mine", **settings})
    found = list(lacks(compute))
    assert [lack.what for lack in found] == missing
    assert all(lack.remedy for lack in found)
    if not missing:
        require(compute)
        return
    with pytest.raises(MissingError, match=re.escape(f"compute mine asks for {missing[0]}: ")):
        require(compute)


def test_a_gpu_needs_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentprm_dagster.stages.available.gpus", list)
    gpu = load_compute("gpu")
    assert [lack.what for lack in lacks(gpu)] == [
        "training.device: cuda, and torch sees no GPUs",
        "vLLM, which is not here",
    ]
    monkeypatch.setenv("AGENTPRM_VLLM", sys.executable)
    assert len(list(lacks(gpu))) == 1
