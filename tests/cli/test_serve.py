"""`agentprm serve` where nothing can be served; what is served is played in tests/envs/openenv/test_served.py."""

import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agentprm_dagster import cli
from agentprm_dagster.commands.ports import HOST, UiError
from agentprm_dagster.commands.serve import ServeError
from agentprm_dagster.envs.alfworld.errors import GamesNotFoundError
from chat_servers import free_port
from kitchen import kitchen, write


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["serve", *map(str, arguments)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder with one game."""
    write(tmp_path / "json_2.1.1/train", kitchen())
    return tmp_path


def test_a_protocol_must_be_named(root: Path) -> None:
    refused = call("--games", root)
    assert refused.exit_code == 2
    assert "expected --openenv" in " ".join(refused.output.split())


def test_what_is_missing_is_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    assert isinstance(call("--openenv", "--games", tmp_path / "empty").exception, GamesNotFoundError)
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        found = call("--openenv", "--games", root, "--port", taken.getsockname()[1])
    assert isinstance(found.exception, UiError)
    monkeypatch.setitem(sys.modules, "openenv.core.env_server", None)
    monkeypatch.setitem(sys.modules, "openenv", None)
    without = call("--openenv", "--games", root, "--port", free_port())
    assert isinstance(without.exception, ServeError)
    assert "pip install 'agentprm_dagster[openenv]'" in str(without.exception)
