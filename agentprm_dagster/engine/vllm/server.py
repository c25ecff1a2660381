"""One vLLM server that a stage has started for itself, on this machine's loopback."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from agentprm_dagster.engine.base import Role
from agentprm_dagster.engine.vllm import guard

if TYPE_CHECKING:
    from agentprm_dagster.engine.vllm.kind import Settings

PYTHON = "AGENTPRM_VLLM"
"""The variable that names the Python of an environment with vLLM."""

_POLL_SECONDS = 0.2


class VllmError(RuntimeError):
    """A vLLM server could not be started, is gone, or answered something else than was asked for."""


class Server:
    """A process that serves one checkpoint; it ends with this one, however this one ends."""

    def __init__(self, checkpoint: Path, name: str, role: Role, settings: "Settings", gpus: str | None = None) -> None:
        """Starts it; `wait` waits until it answers.

        Args:
            name: what the model is called there.
            gpus: the numbers of those that it sees; None: all.

        Raises:
            VllmError: no environment with vLLM is named.
        """
        python = os.environ.get(PYTHON)
        if not python:
            raise VllmError(
                f"engine.kind: vllm needs {PYTHON}, the Python of an environment with vLLM: `python3.11 -m venv "
                f"~/vllm && ~/vllm/bin/pip install vllm`, then `export {PYTHON}=~/vllm/bin/python`"
            )
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115, `close` closes it
        command = [os.path.expanduser(python), *_arguments(checkpoint, name, role, settings, self.port)]  # noqa: PTH111
        self._process = subprocess.Popen(
            [sys.executable, "-P", guard.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, **({"CUDA_VISIBLE_DEVICES": gpus} if gpus is not None else {})},
            start_new_session=True,
        )

    def wait(self, seconds: float) -> None:
        """Waits until it answers.

        Raises:
            VllmError: it ended, or took longer than that; with the end of what it printed.
        """
        until = time.monotonic() + seconds
        while not self._answers():
            if (code := self._process.poll()) is not None:
                raise VllmError(f"the vLLM server ended with exit code {code}; it said:\n{self.words()}")
            if time.monotonic() > until:
                raise VllmError(
                    f"the vLLM server did not answer within {seconds:g} s: raise engine.start_seconds; it said:\n"
                    f"{self.words()}"
                )
            time.sleep(_POLL_SECONDS)

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.poll() is not None

    def words(self) -> str:
        """The end of what it printed."""
        self._printed.seek(0)
        return self._printed.read().decode(errors="replace").strip()[-3000:]

    def close(self) -> None:
        """Ends it."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        self._printed.close()

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health", timeout=5).is_success
        except httpx2.HTTPError:
            return False


def _arguments(checkpoint: Path, name: str, role: Role, settings: "Settings", port: int) -> list[str]:
    """What Python is called with to serve a checkpoint."""
    arguments = {
        "--model": str(checkpoint),
        "--served-model-name": name,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": settings.dtype,
        "--tensor-parallel-size": str(settings.tensor_parallel),
        "--gpu-memory-utilization": str(settings.memory),
        "--generation-config": "vllm",  # a policy is the softmax of its logits, whatever a file beside it asks for
        "--load-format": "safetensors",
    }
    if settings.context:
        arguments["--max-model-len"] = str(settings.context)
    if role == "prm":
        arguments |= {"--runner": "pooling", "--pooler-config": json.dumps({"task": "classify"})}
    else:
        arguments |= {"--logprobs-mode": "raw_logprobs"}
    flat = [word for pair in arguments.items() for word in pair]
    return ["-m", "vllm.entrypoints.openai.api_server", *flat, "--enable-prefix-caching", "--no-trust-remote-code"]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
