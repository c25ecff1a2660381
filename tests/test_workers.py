"""Worker processes: what is said to them, how they end, and that none is left behind."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest
import torch
import torch.multiprocessing  # tensors in shared memory can now be sent

from agentprm_dagster.workers import Worker, WorkerError, wait_for_any


def serve(pipe: Connection) -> None:
    """Does what is asked for, until it is asked no more."""
    while True:
        what, argument = pipe.recv()
        if what == "echo":
            pipe.send(argument)
        elif what == "variable":
            pipe.send(os.environ.get(argument))
        elif what == "thresholds":
            pipe.send(gc.get_threshold())
        elif what == "double":
            pipe.send(argument.mul_(2).sum().item())
        elif what == "print":
            print(argument, flush=True)
            os.write(1, b"from C")
        elif what == "kill":
            os.kill(os.getpid(), argument)
        elif what == "raise":
            raise argument
        else:
            sys.exit(argument)


@pytest.fixture
def worker() -> Iterator[Worker]:
    with closing(Worker(__name__, {"AGENTPRM_TESTED": "yes"})) as worker:
        yield worker


def test_messages_and_the_environment_reach_it(worker: Worker) -> None:
    for message in (None, {"path": Path("here")}, "x" * 1_000_000):
        worker.send(("echo", message))
        assert worker.receive() == message
    worker.send(("variable", "AGENTPRM_TESTED"))
    assert worker.receive() == "yes"


def test_it_looks_rarely_for_garbage(worker: Worker) -> None:
    worker.send(("thresholds", None))
    assert worker.receive() == (50_000, 20, 100)


def test_a_tensor_in_shared_memory_is_the_same_there(worker: Worker) -> None:
    tensor = torch.ones(1000).share_memory_()
    worker.send(("double", tensor))
    assert worker.receive() == 2000
    assert tensor.sum() == 2000


def test_whoever_has_said_something_is_heard(worker: Worker) -> None:
    with closing(Worker(__name__)) as other:
        other.send(("echo", 1))
        assert wait_for_any([worker, other]) == [other]
        assert other.receive() == 1
        worker.send(("exit", 0))
        assert wait_for_any([worker, other]) == [worker]


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (("kill", signal.SIGKILL), r"killed by signal 9 \(Killed: there may have been no memory left\)"),
        (("kill", signal.SIGSEGV), r"killed by signal 11 \(Segmentation fault\)"),
        (("exit", 7), "ended with exit code 7"),
        (("raise", KeyError("no such thing")), r"ended with exit code 1 (.|\n)*no such thing"),
    ],
)
def test_how_it_ended_and_what_it_printed_are_told(worker: Worker, request_: object, told: str) -> None:
    worker.send(("print", "so it goes"))
    worker.send(request_)
    with pytest.raises(WorkerError, match=told) as error:
        worker.receive()
    assert "so it goes" in str(error.value) and "from C" in str(error.value)
    worker.send(("echo", 1))  # is no error by itself
    with pytest.raises(WorkerError, match=told):
        worker.receive()


def test_a_module_that_is_not_there_is_told() -> None:
    with closing(Worker("no_such_module")) as worker, pytest.raises(WorkerError, match="No module named"):
        worker.receive()


def test_ctrl_c_is_for_the_starter(worker: Worker) -> None:
    worker.send(("echo", 1))
    assert worker.receive() == 1
    os.kill(worker.pid, signal.SIGINT)
    worker.send(("echo", 2))
    assert worker.receive() == 2


def test_closing_ends_it(worker: Worker) -> None:
    worker.close()
    assert not psutil.pid_exists(worker.pid)


def test_it_ends_with_a_starter_that_is_killed() -> None:
    script = (
        "import os, signal\n"
        "from agentprm_dagster.workers import Worker\n"
        "worker = Worker('agentprm_dagster.envs.textworld.worker')\n"  # waits for a request
        "print(worker.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(ran.stdout)).wait(timeout=60)
