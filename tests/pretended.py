"""Servers of tests/pretended_vllm: which run, and what they were started with."""

import json
import signal
import sys
from collections.abc import Callable
from os import kill
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest

from agentprm_dagster.engine.base import Limits
from agentprm_dagster.engine.vllm import kind
from agentprm_dagster.engine.vllm.served import Served
from agentprm_dagster.engine.vllm.server import PYTHON

LIMITS = Limits(end=5, max_new_tokens=4)
PACKAGE = Path(__file__).parent / "pretended_vllm"


class Pretended:
    """An environment with the pretended vLLM, in this process's variables."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.set = folder, monkeypatch.setenv
        folder.mkdir()
        for name, value in ((PYTHON, sys.executable), ("PYTHONPATH", PACKAGE), ("PRETENDED_PIDS", folder)):
            monkeypatch.setenv(name, str(value))
        for name in ("PRETENDED_END", "PRETENDED_GATE", "PRETENDED_STAYS", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)

    def settings(self, **settings: Any) -> kind.Settings:
        """With few seconds for everything."""
        return kind.Settings(**{"retries": 2, "start_seconds": 60.0, **settings})

    def started(self) -> list[dict[str, Any]]:
        """The arguments of all processes that ever ran."""
        return [json.loads(path.read_text()) for path in self.folder.iterdir()]

    def running(self) -> list[int]:
        """Those that run, servers and what they have started."""
        return [pid for pid in (int(path.name) for path in self.folder.iterdir()) if _runs(pid)]

    def all_ended(self) -> bool:
        """Waits until none runs."""
        return eventually(lambda: not self.running())

    def kill(self, name: str) -> None:
        """Kills a server that serves a model of this name, as a person would, and waits until it is gone."""
        pid = max(
            pid for pid in self.running() if self._is_server(pid) and self.argument(pid, "served_model_name") == name
        )
        kill(pid, signal.SIGKILL)
        assert eventually(lambda: not _runs(pid))

    def argument(self, pid: int, name: str) -> str:
        """What a process was started with."""
        return str(json.loads((self.folder / str(pid)).read_text())[name])

    def _is_server(self, pid: int) -> bool:
        return "vllm.entrypoints.openai.api_server" in psutil.Process(pid).cmdline()


def asked(model: Served, settings: kind.Settings, conversations: int) -> list[list[list[int]]]:
    """What an engine on it draws from conversations of three tokens."""
    engine = kind.open(model, settings, conversations=conversations)
    for i in range(conversations):
        engine.begin(i, [7, 8, 9 + i])
    return engine.sample(range(conversations), 2, LIMITS, temperature=1.0, seeds=range(conversations)).tokens


def expected(conversations: int) -> list[list[list[int]]]:
    """What the pretended server answers to these."""
    return [[[9 + i, 6 + i], [9 + i, 7 + i]] for i in range(conversations)]


def eventually(holds: Callable[[], object], seconds: float = 60.0) -> bool:
    """Whether something holds, or comes to hold."""
    until = monotonic() + seconds
    while not (held := holds()) and monotonic() < until:
        sleep(0.05)
    return bool(held)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
