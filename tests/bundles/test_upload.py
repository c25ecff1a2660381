"""The commands that a bundle's README gives put its folders on the hub, as they are."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hub import hub
from pages import ROOT, commands

(HF,) = entry_points(group="console_scripts", name="hf")


def uploads(page: Path) -> list[list[str]]:
    return [arguments for arguments in commands(page, "hf") if arguments[0] == "upload"]


def test_the_docs_name_the_commands_that_a_bundle_names(made: Path) -> None:
    shown = [" ".join(arguments).replace("smoke", "toy") for arguments in uploads(ROOT / "docs" / "sharing.md")]
    assert shown == [" ".join(arguments) for arguments in uploads(made / "bundle" / "README.md")]


@pytest.mark.parametrize(("part", "kind"), [("policy", "models"), ("rollouts", "datasets")])
def test_a_folder_is_uploaded_as_it_is(made: Path, tmp_path: Path, part: str, kind: str) -> None:
    (arguments,) = (each for each in uploads(made / "bundle" / "README.md") if each[2] == part)
    with hub() as server:
        environment = {
            **os.environ,
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": "hf_none",
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "0",
        }
        program = f"import sys; from {HF.module} import {HF.attr}; sys.argv[0] = 'hf'; {HF.attr}()"
        command = [sys.executable, "-c", program, *arguments]
        ran = subprocess.run(
            command, cwd=made / "bundle", env=environment, capture_output=True, text=True, check=False, timeout=120
        )
    assert ran.returncode == 0, ran.stderr
    folder = made / "bundle" / part
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert server.repositories == {f"{kind}/{arguments[1]}": files}
