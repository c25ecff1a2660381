"""One vLLM server that a stage has started for itself, on this machine's loopback."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from agentprm_dagster import guard
from agentprm_dagster.engine.base import Role
from agentprm_dagster.engine.checkpoint_files import dtype_of

if TYPE_CHECKING:
    from agentprm_dagster.engine.vllm.kind import Settings

PYTHON = "AGENTPRM_VLLM"
"""The variable that names the Python of an environment with vLLM."""

_POLL_SECONDS = 0.2
_LOAD_SECONDS = 120.0
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM's servers can be made for."""
# Not `import vllm`, which takes long; builds of it have distributions of other names.
_VERSION = """
from importlib.metadata import packages_distributions, version
print(version(packages_distributions()["vllm"][0]))
"""


class VllmError(RuntimeError):
    """A vLLM server could not be started, is gone, or answered something else than was asked for."""


@dataclass(frozen=True)
class Adapter:
    """An adapter beside a model that is served."""

    name: str
    """What the two together are called."""
    folder: Path
    rank: int

    @property
    def most(self) -> int:
        """The largest rank that its server is made for: vLLM knows some.

        Raises:
            VllmError: it knows none that is as large.
        """
        if self.rank > _RANKS[-1]:
            raise VllmError(
                f"vLLM serves adapters up to rank {_RANKS[-1]}, got {self.rank}: set engine.adapters: merged"
            )
        return next(rank for rank in _RANKS if rank >= self.rank)


class Server:
    """A process that serves one checkpoint; it ends with this one, however this one ends. To be closed."""

    def __init__(
        self,
        checkpoint: Path,
        name: str,
        role: Role,
        settings: "Settings",
        *,
        gpus: str | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        """Starts it; `wait` waits until it answers.

        Args:
            name: what the model is called there.
            gpus: the numbers of those that it sees; None: as this process.
            adapter: what it answers with besides, and is computed in the type of.

        Raises:
            VllmError: no environment with vLLM is named.
        """
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        dtype = dtype_of(adapter.folder if adapter else checkpoint)
        self._command = [vllm_python(), "-P", *_arguments(checkpoint, name, role, settings, port, dtype)]
        self._adapter = adapter
        # vLLM would tell its makers what is served.
        self._environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1"}
        if adapter:
            self._command += ["--enable-lora", "--max-lora-rank", str(adapter.most)]
            self._environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        if gpus is not None:
            self._environment["CUDA_VISIBLE_DEVICES"] = gpus
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115, `close` closes it
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        each = self._adapter
        lora = ["--lora-modules", f"{each.name}={each.folder}"] if each else []
        return guard.guarded([*self._command, *lora], self._printed.fileno(), self._environment)

    def answer_with(self, adapter: Adapter) -> None:
        """Takes another adapter, also for when it is started again.

        Raises:
            VllmError: it refuses the adapter, or is gone.
        """
        self._adapter = adapter
        if self.ended:
            return
        body = {"lora_name": adapter.name, "lora_path": str(adapter.folder), "load_inplace": True}
        try:
            answer = httpx2.post(f"{self.url}/v1/load_lora_adapter", json=body, timeout=_LOAD_SECONDS, trust_env=False)
        except httpx2.HTTPError as error:
            raise VllmError(f"{self.url} takes no adapter: {type(error).__name__}: {error}") from error
        if not answer.is_success:
            raise VllmError(f"{self.url} refused the adapter {adapter.folder}: {answer.text[:1000]}")

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.poll() is not None

    def start_again(self) -> None:
        """Starts a server that has ended once more, and does not wait for it."""
        if self.ended:
            self._process.communicate()
            self._process = self._start()

    def wait(self, seconds: float) -> None:
        """Waits until it answers.

        Raises:
            VllmError: it ended, or took longer than that; with the end of what it printed.
        """
        until = time.monotonic() + seconds
        while not self._answers():
            if (code := self._process.poll()) is not None:
                raise VllmError(f"the vLLM server ended with exit code {code}; it printed:\n{self.words()}")
            if time.monotonic() > until:
                raise VllmError(
                    f"the vLLM server did not answer within {seconds:g} s: raise engine.start_seconds; it printed:\n"
                    f"{self.words()}"
                )
            time.sleep(_POLL_SECONDS)

    def words(self) -> str:
        """The end of what it printed."""
        return guard.last_words(self._printed)

    def close(self) -> None:
        """Ends it, and waits until it has ended."""
        self._process.communicate()
        self._printed.close()

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health", timeout=5, trust_env=False).is_success
        except httpx2.HTTPError:
            return False


def vllm_python() -> str:
    """The Python of the environment with vLLM.

    Raises:
        VllmError: none is named, or what is named is no program.
    """
    named = os.environ.get(PYTHON)
    if not named:
        raise VllmError(
            f"engine.kind: vllm needs {PYTHON}, the Python of an environment with vLLM: `python3.11 -m venv ~/vllm && "
            f"~/vllm/bin/pip install vllm`, then `export {PYTHON}=~/vllm/bin/python`"
        )
    if (python := shutil.which(os.path.expanduser(named))) is None:  # noqa: PTH111  # never fails
        raise VllmError(f"{PYTHON} names {named}: expected the Python of an environment with vLLM, which can be run")
    return python


def vllm_version() -> str:
    """The version of vLLM in that environment.

    Raises:
        VllmError: there is none.
    """
    python = vllm_python()
    said = subprocess.run([python, "-P", "-c", _VERSION], capture_output=True, text=True, check=False)
    if said.returncode:
        raise VllmError(f"expected an environment with vLLM, got {python}: {said.stderr.strip()[-500:]}")
    return said.stdout.strip()


def gpus_of(replica: int, each: int) -> str:
    """The numbers of a replica's GPUs, of those that this process sees.

    Raises:
        VllmError: it sees fewer.
    """
    first, last = replica * each, (replica + 1) * each
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return ",".join(map(str, range(first, last)))
    numbers = [number for number in visible.split(",") if number.strip()]
    if len(numbers) < last:
        raise VllmError(
            f"replica {replica + 1} needs {last} GPUs, {each} each; CUDA_VISIBLE_DEVICES={visible} names "
            f"{len(numbers)}: lower engine.replicas or engine.tensor_parallel"
        )
    return ",".join(numbers[first:last])


def _arguments(checkpoint: Path, name: str, role: Role, settings: "Settings", port: int, dtype: str) -> Iterator[str]:
    """What Python is called with to serve a checkpoint."""
    arguments = {
        "--model": str(checkpoint),
        "--served-model-name": name,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": dtype,  # vLLM's own choice makes float16 of float32
        "--tensor-parallel-size": str(settings.tensor_parallel),
        "--gpu-memory-utilization": str(settings.memory),
        "--generation-config": "vllm",  # a policy is the softmax of its logits, whatever a file beside it asks for
        "--load-format": "safetensors",
        "--uvicorn-log-level": "warning",
    }
    if settings.context:
        arguments["--max-model-len"] = str(settings.context)
    if role == "prm":
        arguments |= {"--runner": "pooling", "--pooler-config": json.dumps({"task": "classify"})}
    else:
        arguments |= {"--logprobs-mode": "raw_logprobs"}  # before temperature and what is banned
    yield from ("-m", "vllm.entrypoints.openai.api_server")
    for pair in arguments.items():
        yield from pair
    yield from ("--enable-prefix-caching", "--enable-prompt-tokens-details", "--no-trust-remote-code")
    yield from settings.arguments


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
