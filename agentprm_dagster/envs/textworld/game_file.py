"""A game's file: a zip of `game.json`, TextWorld's logic of it, and `game.z8`, the program that tells it.

Both are TextWorld's own: unpacked, `tw-play game.z8` plays them.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

from agentprm_dagster.envs.base import TaskFileError

LOGIC, STORY = "game.json", "game.z8"

_DAY = (1980, 1, 1, 0, 0, 0)
MAKE_AGAIN = "Remove the folder that the games were made into: they are made again when they are next asked for."


def write_game(path: Path, logic: dict[str, Any], story: bytes) -> None:
    """Writes a game's file, which is there at once or not at all. The same game gives the same bytes."""
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(partial, "w") as file:
        for name, content in ((LOGIC, json.dumps(logic).encode()), (STORY, story)):
            file.writestr(zipfile.ZipInfo(name, _DAY), content, zipfile.ZIP_DEFLATED)
    partial.replace(path)


def read_game(path: Path) -> tuple[dict[str, Any], bytes]:
    """A game's logic and its story.

    Raises:
        FileNotFoundError: there is no such file.
        TaskFileError: it is cut short, or is no game's file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return json.loads(file.read(LOGIC)), file.read(STORY)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise _refusal(path, str(error)) from error


def check_game(path: Path) -> None:
    """Looks whether a file is a game's, without unpacking it; TaskFileError where it is not."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except zipfile.BadZipFile as error:
        raise _refusal(path, str(error)) from error
    if names != [LOGIC, STORY]:
        raise _refusal(path, f"one of {names}")


def _refusal(path: Path, got: str) -> TaskFileError:
    return TaskFileError(f"{path}: expected a zip of {LOGIC} and {STORY}, got {got}. {MAKE_AGAIN}")
