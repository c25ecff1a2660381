"""alfworld, imported without what that does besides: it makes the folder that ALFWORLD_DATA names, and sets it."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any


def import_alfworld(module: str) -> Any:
    """A module of alfworld; the environment and the disk stay as they are."""
    named = os.environ.get("ALFWORLD_DATA")
    os.environ["ALFWORLD_DATA"] = str(Path(__file__).parent)  # a folder that is there
    try:
        return import_module(module)
    finally:
        if named is None:
            del os.environ["ALFWORLD_DATA"]
        else:
            os.environ["ALFWORLD_DATA"] = named
