"""Whether this machine has what a compute asks for: told before anything is computed."""

from collections.abc import Iterator
from typing import NamedTuple

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
    devices = {"training.device": compute.training.device, "engine.device": engine.get("device", "auto")}
    for name, device in devices.items():
        if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= (seen := len(gpus())):
            yield Lack(
                f"{name}: {device}, and torch sees {seen or 'no'} GPU{'s' * (seen != 1)}",
                "choose another compute, or see whether `nvidia-smi` names the GPU and torch was built for CUDA "
                "(`python -c 'import torch; print(torch.version.cuda)'`)",
            )
    training = compute.training
    if training.device != "cpu" and 0 < len(gpus()) < training.processes:
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


def require(compute: Compute) -> None:
    """Refuses a compute that this machine cannot be.

    Raises:
        MissingError: it lacks something; what, and how to get it.
    """
    if missing := [f"{lack.what}: {lack.remedy}" for lack in lacks(compute)]:
        raise MissingError(f"compute {compute.name} asks for {'; '.join(missing)}")
