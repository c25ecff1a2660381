"""A person at a browser: `agentprm ui` with a home of its own, and Chromium without a window to look at it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from PIL import Image

from chat_servers import free_port

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Page

SCREENSHOTS = Path(__file__).parents[1] / "build" / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 300_000
"""Milliseconds for a page to show what it should. A busy machine has a stage or a page wait for minutes."""


class Ui:
    """`agentprm ui`, which can be started more than once in the same home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = ["--dagster-port", str(free_port()), "--mlflow-port", str(free_port())]

    def start(self) -> None:
        """Goes on once the addresses are printed."""
        environment = {**os.environ, "AGENTPRM_HOME": str(self.home)}
        for inherited in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME", "AGENTPRM_STORE", "AGENTPRM_LOAD"):
            environment.pop(inherited, None)
        command = [str(Path(sys.executable).with_name("agentprm")), "ui", *self.ports]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert self.process.stdout is not None
        printed = {}
        for line in self.process.stdout:
            name, _, rest = line.partition(" ")
            printed[name] = rest.strip()
            if name == "Ctrl-C":
                break
        self.first_page, self.mlflow = printed["Dagster"], printed["MLflow"]
        self.dagster = self.first_page.partition("/locations")[0]

    def kill_daemon(self) -> str:
        """Kills Dagster's daemon as a system without memory does; what `agentprm ui` prints, which ends."""
        (daemon,) = [
            process
            for process in psutil.Process(self.process.pid).children(recursive=True)
            if Path(process.cmdline()[1]).name == "dagster-daemon"
        ]
        daemon.kill()
        return self.process.communicate()[0]

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate()


@contextmanager
def chromium() -> Iterator["Page"]:
    """A page of the system's Chromium, else of playwright's own; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install -e ".[browser]"')
    with api.sync_playwright() as driver:
        program = next((path for name in NAMES if (path := shutil.which(name))), driver.chromium.executable_path)
        if not Path(program).exists():
            pytest.skip(f"no {', '.join(NAMES)} on the path, nor playwright's own: playwright install chromium")
        # Its sandbox needs more rights than a container's root has.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=program, args=sandbox)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def shoot(page: "Page", name: str, clip: "FloatRect | None" = None) -> None:
    """Takes a picture of a page for docs/, with few colours, so that it is small."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path, clip=clip)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
