"""The installed `agentprm` as a user calls it, in a home of its own."""

import os
import subprocess
import sys
from pathlib import Path

AGENTPRM = Path(sys.executable).with_name("agentprm")


def call(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """How it ended and what it said."""
    variables = {**os.environ, "AGENTPRM_HOME": str(home), **environment}
    variables.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run([AGENTPRM, *arguments], env=variables, capture_output=True, text=True, check=False)


def run(folder: Path, *arguments: str) -> str:
    """What it printed; home and experiments of one's own lie in `folder`."""
    ran = call(folder / "home", *arguments, AGENTPRM_EXPERIMENTS=str(folder / "experiments"))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
