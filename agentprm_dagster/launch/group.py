"""The process group of those that torchrun or Ray has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from agentprm_dagster.config.compute import TrainingCompute


@contextmanager
def process_group(compute: TrainingCompute) -> Iterator[None]:
    """This process is one of those that train together meanwhile, with a GPU of its own where there are some.

    Nothing happens in a process that trains alone.
    """
    if "LOCAL_RANK" not in os.environ:
        yield
        return
    on_gpus = compute.device != "cpu" and torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    yield
    dist.destroy_process_group()  # not after an error: the others may be waiting for this one


def gathered(own: list[str]) -> list[str]:
    """What all processes have, one after the other."""
    if not dist.is_initialized():
        return own
    lists: list[list[str]] = [[]] * dist.get_world_size()
    dist.all_gather_object(lists, own)
    return [each for some in lists for each in some]
