"""A pretended vLLM, all of whose servers have ended when a test is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentprm_dagster.engine.vllm import client
from pretended import Pretended


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pretended]:
    monkeypatch.setattr(client, "_FIRST_PAUSE", 0.0)
    pretended = Pretended(tmp_path / "pids", monkeypatch)
    yield pretended
    assert pretended.all_ended()
