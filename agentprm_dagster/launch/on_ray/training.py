"""Trains in several processes of a Ray cluster, on one node or on many.

The first of them sends home what it saves, so that a training whose node was lost goes on from there on another, and at
the end what it has made: nodes need no filesystem in common. Ray's own jobs run on one node, and tell by their log.
"""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from agentprm_dagster.cluster.connection import ClusterError, connected, require_versions, versions
from agentprm_dagster.cluster.files import Mirror, Piece, receive, send_folder
from agentprm_dagster.cluster.mail import Mailbox, Slot, errors_told, failure, heard
from agentprm_dagster.cluster.parcels import Parcel, pack, pack_folder, unpacked
from agentprm_dagster.config import TrainingCompute
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.launch.on_ray.monitor import SlotMonitor
from agentprm_dagster.launch.request import Request, read_request
from agentprm_dagster.launch.told import Trained
from agentprm_dagster.launch.torchrun import PROGRAM
from agentprm_dagster.workers import Worker

_ATTEMPTS = 3
"""How often a training is begun, or gone on with, whose nodes were lost."""
_ROOM_SECONDS = 600.0
"""How long it is waited for room on the cluster, which may have to start nodes."""
_OTHERS_SECONDS = 30.0
"""How long it is waited, when one process has failed, for what the others say."""
_POLL_SECONDS = 0.5
_SAVED, _MADE = "saved", "made"


class _LostError(ClusterError):
    """A process or its node is gone."""


@dataclass(frozen=True)
class _Failed:
    """What went wrong in one of the processes."""

    at: float
    words: str


@dataclass(frozen=True)
class _Sent:
    """What a request reads, in the object store."""

    inputs: Mapping[str, Parcel]
    tasks: Parcel
    saved: Parcel


def train_on_ray(path: Path, monitor: Monitor) -> Trained:
    """What came of the request in a file, by as many processes as it asks for.

    Raises:
        ClusterError: one of them failed, or the cluster has no room for them.
        WorkerError: the head of the cluster is gone.
    """
    with closing(Worker(__name__)) as worker:
        worker.send(path)
        while not isinstance(said := heard(worker), Trained):
            getattr(monitor, said[0])(*said[1:])
    return said


def serve(pipe: Connection) -> None:
    """Receives a request's path; tells what the monitor is to be told, and at last what came of it."""
    with errors_told(pipe):
        request, ray = read_request(pipe.recv()), connected()
        with failure(ray):
            pipe.send(_trained(ray, request, pipe.send))


def _trained(ray: Any, request: Request, tell: Callable[[Any], None]) -> Trained:
    inputs = {role: pack_folder(ray, folder) for role, folder in request.inputs.items()}
    tasks = pack(ray, {f"{i}/{task.path.name}": task.path for i, task in enumerate(request.tasks)})
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _attempt(ray, request, _Sent(inputs, tasks, _pack_saved(ray, request.resume)), tell)
        except _LostError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _pack_saved(ray: Any, folder: Path) -> Parcel:
    """What an earlier attempt has saved, without the request and what was told."""
    return pack(ray, {each.relative_to(folder).as_posix(): each for each in folder.rglob("*.safetensors")})


def _attempt(ray: Any, request: Request, sent: _Sent, tell: Callable[[Any], None]) -> Trained:
    mailbox, folders = Mailbox(ray), {_SAVED: request.resume, _MADE: request.out}
    with _room(ray, request.training) as options:
        meeting = ray.get(ray.remote(**options(0))(_meeting_point).remote())
        count = request.training.processes
        ranks = [
            ray.remote(max_calls=1, max_retries=0, **options(rank))(_train).remote(
                request, sent, rank, meeting, versions(), mailbox.slot(rank)
            )
            for rank in range(count)
        ]
        left, until = ranks, float("inf")
        while left and time.monotonic() < until:
            done, left = ray.wait(left, num_returns=len(left), timeout=_POLL_SECONDS)
            for _, message in mailbox.new():
                receive(message, folders) if isinstance(message, Piece) else tell(message)
            if until == float("inf") and any(not isinstance(_outcome(ray, each), Trained) for each in done):
                until = time.monotonic() + _OTHERS_SECONDS
        for each in left:
            ray.cancel(each, force=True)
        return _first(ray, [each for each in ranks if each not in left], count)


def _outcome(ray: Any, reference: Any) -> Trained | _Failed | _LostError:
    try:
        outcome: Trained | _Failed = ray.get(reference)
    except ray.exceptions.RayError as error:
        return _LostError(f"a process was lost: {type(error).__name__}: {error}")
    return outcome


def _first(ray: Any, ended: list[Any], count: int) -> Trained:
    """What the first process has made, or what went wrong first: others fail because they are left alone."""
    outcomes = [_outcome(ray, each) for each in ended]
    if lost := [each for each in outcomes if isinstance(each, _LostError)]:
        raise lost[0]
    if failed := [each for each in outcomes if isinstance(each, _Failed)]:
        words = min(failed, key=lambda each: each.at).words
        raise ClusterError(f"of {count} processes that train together one failed, {words}")
    return next(each for each in outcomes if isinstance(each, Trained))


@contextmanager
def _room(ray: Any, training: TrainingCompute) -> Iterator[Callable[[int], dict[str, Any]]]:
    """Room for all processes at once; within it, the options of each one's task."""
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    there = ray.cluster_resources()
    needs: dict[str, float] = {"CPU": training.cpus}
    if training.device == "cuda" or (training.device == "auto" and there.get("GPU")):
        needs["GPU"] = 1
    group = placement_group([needs] * training.processes, strategy="PACK")
    try:
        if not group.wait(_ROOM_SECONDS):
            raise ClusterError(
                f"the cluster has no room for {training.processes} processes of {needs}; it has "
                f"{ {name: there.get(name, 0) for name in needs} }: lower training.processes, or add nodes"
            )

        def options(rank: int) -> dict[str, Any]:
            return {
                "num_cpus": needs["CPU"],
                "num_gpus": needs.get("GPU", 0),
                "scheduling_strategy": PlacementGroupSchedulingStrategy(group, rank),
            }

        yield options
    finally:
        remove_placement_group(group)


def _meeting_point() -> tuple[str, int]:
    """On the first process's node: its address, and a port that is free there."""
    import ray

    address = ray.util.get_node_ip_address()
    with socket.socket() as listening:
        listening.bind((address, 0))
        return address, listening.getsockname()[1]


def _train(
    request: Request, sent: _Sent, rank: int, meeting: tuple[str, int], wanted: dict[str, str], slot: Slot
) -> Trained | _Failed:
    """On a node: one of the processes that train together."""
    import ray
    import torch

    try:
        require_versions(wanted)
        torch.set_num_threads(request.training.cpus)
        os.environ |= _environment(rank, request.training.processes, meeting)
        with tempfile.TemporaryDirectory() as folder:
            here = _moved(request, sent, Path(folder))
            with Mirror(slot.tell, _SAVED, here.resume) if rank == 0 else nullcontext():
                trained: Trained = import_module(PROGRAM).run(here, SlotMonitor(slot))
            if rank == 0:
                send_folder(slot.tell, _MADE, here.out)
            return trained
    except Exception as error:
        from agentprm_dagster.launch.told import last_lines

        where = f"process {rank} on the node {ray.util.get_node_ip_address()}"
        return _Failed(time.time(), f"{where}: {type(error).__name__}: {error}\n{last_lines(error)}")


def _environment(rank: int, count: int, meeting: tuple[str, int]) -> dict[str, str]:
    """What torch reads to find the others; gradients go over the network that Ray uses."""
    import ray

    interface = _interface(ray.util.get_node_ip_address())
    return {
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": "0",  # Ray shows each task its own GPU alone
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": meeting[0],
        "MASTER_PORT": str(meeting[1]),
    }


def _interface(address: str) -> str:
    """The network interface of an address of this machine."""
    own = {name: {each.address for each in addresses} for name, addresses in psutil.net_if_addrs().items()}
    loopback = "127.0.0.1" if address.startswith("127.") else address
    return next(name for name, addresses in own.items() if loopback in addresses)


def _moved(request: Request, sent: _Sent, folder: Path) -> Request:
    """The same request, its files on this node and what it makes in a folder."""
    import ray

    tasks, saved = unpacked(ray, sent.tasks), unpacked(ray, sent.saved)
    out, resume = folder / "made", folder / "saved"
    out.mkdir()
    shutil.copytree(saved, resume)
    refs = [replace(task, path=tasks / str(i) / task.path.name) for i, task in enumerate(request.tasks)]
    inputs = {role: unpacked(ray, parcel) for role, parcel in sent.inputs.items()}
    return request.model_copy(update={"inputs": inputs, "tasks": tuple(refs), "out": out, "resume": resume})
