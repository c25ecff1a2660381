"""Reading what stands in a game's folder: `game.tw-pddl` and `traj_data.json`, refused where they are not ALFWorld's.

Both engines read a game through here first.
"""

import json
from pathlib import Path
from stat import S_ISREG
from typing import Any

from agentprm_dagster.envs.alfworld.errors import BrokenGameError, GameFileError
from agentprm_dagster.envs.alfworld.expressions import foreign_code
from agentprm_dagster.envs.alfworld.tasks import TASK_TYPES

KEYS = {"pddl_domain": str, "grammar": str, "pddl_problem": str, "solvable": bool, "walkthrough": list}
TASK_FILE = "traj_data.json"
"""What the stock experts read of a game, beside its file."""

MOST_BYTES = 16 * 2**20
"""How large a game's file may be; ALFWorld's largest has 138 kB."""

MAKE_AGAIN = "Fetch the games again with `agentprm games download`, or make some with `agentprm games generate`."
EXPECTED = f"a JSON object with the keys {', '.join(KEYS)}"


def read_game_data(path: Path) -> dict[str, Any]:
    """What a game file holds, by its keys (`KEYS`).

    Raises:
        FileNotFoundError: there is no such file.
        GameFileError: it is broken, is not solvable, or would run code.
    """
    data = read_json(path, EXPECTED)
    if wrong := [key for key, kind in KEYS.items() if not isinstance(data.get(key), kind)]:
        raise refusal(path, EXPECTED, f"nothing fitting for {', '.join(wrong)}", MAKE_AGAIN)
    if not data["solvable"]:
        raise refusal(path, "a solvable game", '"solvable": false', "Leave this game out, as the stock engine does.")
    if not all(isinstance(command, str) for command in data["walkthrough"]):
        raise refusal(path, "a walkthrough of commands", "something else in it", MAKE_AGAIN)
    if (code := foreign_code(data["grammar"])) is not None:
        remedy = f"TextWorld would run it as Python: leave this game alone. {MAKE_AGAIN}"
        raise refusal(path, "a grammar that names things, as ALFWorld's does", f"{code!r} in it", remedy)
    return data


def read_task_file(path: Path, *, for_expert: bool = False) -> dict[str, Any]:
    """What a `traj_data.json` holds; GameFileError where it sets none of ALFWorld's tasks.

    `for_expert`: also where it has not what alfworld's handcoded expert is told of the task.
    """
    expected = "a JSON object with one of ALFWorld's six as task_type"
    data = read_json(path, expected)
    if data.get("task_type") not in TASK_TYPES:
        raise refusal(path, expected, repr(data.get("task_type"))[:100], MAKE_AGAIN)
    if for_expert and not isinstance(data.get("pddl_params"), dict):
        raise refusal(path, "pddl_params, which the expert reads", "none", MAKE_AGAIN)
    return data


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: there is no such file.
        BrokenGameError: it is no ordinary file, too large, or no JSON object.
    """
    size = size_of(path)
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        got = f"{size} bytes that are not one ({error})"
        raise BrokenGameError(_words(path, expected, got, MAKE_AGAIN)) from error
    if not isinstance(data, dict):
        raise BrokenGameError(_words(path, expected, f"a JSON {type(data).__name__}", MAKE_AGAIN))
    return data


def refusal(path: Path, expected: str, got: str, remedy: str) -> GameFileError:
    """The error that a game cannot be played: what was expected of its file, what came, and what to do."""
    return GameFileError(_words(path, expected, got, remedy))


def size_of(path: Path) -> int:
    """How many bytes a file has; BrokenGameError where it is no ordinary file, or has more than `MOST_BYTES`."""
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise BrokenGameError(_words(path, "a file", "something else of that name", MAKE_AGAIN))
    if status.st_size > MOST_BYTES:
        got = f"{status.st_size} bytes"
        raise BrokenGameError(_words(path, f"a file of at most {MOST_BYTES} bytes", got, MAKE_AGAIN))
    return status.st_size


def _words(path: Path, expected: str, got: str, remedy: str) -> str:
    return f"{path}: expected {expected}, got {got}. {remedy}"
