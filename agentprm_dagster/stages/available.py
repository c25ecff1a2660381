"""Whether this machine has what a compute asks for: told before anything is computed."""

from collections.abc import Iterator
from importlib.util import find_spec
from os import environ
from typing import NamedTuple

from agentprm_dagster.cluster.connection import ADDRESS
from agentprm_dagster.config import Compute
from agentprm_dagster.engine.vllm.server import VllmError, vllm_python
from agentprm_dagster.launch.gpus import gpus


class MissingError(RuntimeError):
    """This machine lacks what a compute asks for."""


class Lack(NamedTuple):
    """Something that a compute asks for and that is not here."""

    what: str
    remedy: str


def lacks(compute: Compute) -> Iterator[Lack]:
    """What this machine lacks of what a compute asks for."""
    engine = compute.engine.model_dump()
    devices = {
        "training.device": compute.training.device if compute.training.launch != "ray" else "auto",
        "engine.device": engine.get("device", "auto") if compute.playing.launch != "ray" else "auto",
    }
    for name, device in devices.items():
        if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= (seen := len(gpus())):
            yield Lack(
                f"{name}: {device}, and torch sees {seen or 'no'} GPU{'s' * (seen != 1)}",
                "choose another compute, or see whether `nvidia-smi` names the GPU and torch was built for CUDA "
                "(`python -c 'import torch; print(torch.version.cuda)'`)",
            )
    training = compute.training
    if "ray" in (training.launch, compute.playing.launch, engine.get("launch")):
        yield from _lacks_ray()
    if training.launch == "torchrun" and training.device != "cpu" and 0 < len(gpus()) < training.processes:
        yield Lack(
            f"training.processes: {training.processes}, and torch sees {len(gpus())} GPUs, one for each",
            "lower it, or set training.device: cpu",
        )
    if engine["kind"] == "vllm" and None in (engine["policy_url"], engine["prm_url"]):
        try:
            vllm_python()
        except VllmError as error:
            servers = "or name servers that are there in engine.policy_url and engine.prm_url"
            yield Lack("vLLM, which is not here", f"{error}; {servers}")


def _lacks_ray() -> Iterator[Lack]:
    if find_spec("ray") is None:
        yield Lack("Ray, which is not installed", "pip install 'agentprm_dagster[ray]'")
    if not environ.get(ADDRESS, "").strip():
        yield Lack(
            f"a Ray cluster, and {ADDRESS} names none", "start one with `ray start --head` and set it to HOST:PORT"
        )


def require(compute: Compute) -> None:
    """Refuses a compute that this machine cannot be.

    Raises:
        MissingError: it lacks something; what, and how to get it.
    """
    if missing := [f"{lack.what}: {lack.remedy}" for lack in lacks(compute)]:
        raise MissingError(f"compute {compute.name} asks for {'; '.join(missing)}")
