"""Fetches ALFWorld's own games with ALFWorld's own downloader."""

import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path

from agentprm_dagster.envs.alfworld.errors import DownloadError
from agentprm_dagster.envs.alfworld.games import GAMES_FOLDER

_HOST = "https://github.com"
_PATIENCE_SECONDS = 20


def download(root: Path) -> None:
    """Puts ALFWorld's release under `root`, with `root/json_2.1.1/{train,valid_seen,valid_unseen}` the games.

    Runs `alfworld-download`, whose progress goes to stderr; what is already there is kept.

    Raises:
        DownloadError: the release's host cannot be reached, or the downloader failed.
    """
    _check_network(root)
    script = Path(sysconfig.get_path("scripts")) / "alfworld-download"
    root.mkdir(parents=True, exist_ok=True)
    ended = subprocess.run([sys.executable, str(script), "--data-dir", str(root)], check=False)
    if ended.returncode != 0 or not (root / GAMES_FOLDER).is_dir():
        raise DownloadError(
            f"expected {script} to put games into {root / GAMES_FOLDER}, but it ended with exit code "
            f"{ended.returncode} (its own words are above); call it again to go on where it stopped. {_otherwise(root)}"
        )


def _check_network(root: Path) -> None:
    request = urllib.request.Request(_HOST, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answered, so it can be reached
    except OSError as error:
        raise DownloadError(
            f"ALFWorld's games are released on {_HOST}, which cannot be reached ({error}); behind a proxy set "
            f"HTTPS_PROXY. {_otherwise(root)}"
        ) from error


def _otherwise(root: Path) -> str:
    return (
        f"Without a network, copy the folder {GAMES_FOLDER} from another machine into {root}, or make games with "
        "`agentprm games generate`."
    )
