"""ALFWorld's games: `AlfworldEnv` plays them in the manner of Gymnasium, `kind.KIND` is what experiments play."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """`AlfworldEnv`, imported when it is asked for: the command line imports this package for its settings."""
    if name != "AlfworldEnv":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.gym_env").AlfworldEnv
