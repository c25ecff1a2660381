"""alfworld's downloader is called, and its failures are said in words that help."""

import sysconfig
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest

from agentprm_dagster.envs.alfworld.download import download
from agentprm_dagster.envs.alfworld.errors import DownloadError


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scripts in place of the interpreter's, and a network that answers."""
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: (tmp_path / "answer").open("w"))
    return tmp_path


def test_the_data_root_is_handed_to_alfworlds_downloader(scripts: Path) -> None:
    script = (
        "import pathlib, sys\nassert sys.argv[1] == '--data-dir'\n(pathlib.Path(sys.argv[2]) / 'json_2.1.1').mkdir()"
    )
    (scripts / "alfworld-download").write_text(script)
    download(scripts / "data")
    assert (scripts / "data" / "json_2.1.1").is_dir()


@pytest.mark.parametrize("script", ["raise SystemExit(3)", "pass"])
def test_a_downloader_that_brings_no_games_has_failed(scripts: Path, script: str) -> None:
    (scripts / "alfworld-download").write_text(script)
    with pytest.raises(DownloadError, match=rf"exit code {3 if '3' in script else 0}.*games generate"):
        download(scripts / "data")


def test_without_a_network_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(request: urllib.request.Request, timeout: float) -> None:
        raise URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(DownloadError, match=r"cannot be reached .*no route.*games generate"):
        download(tmp_path / "data")
    assert not (tmp_path / "data").exists()
