"""A folder that tasks are generated into: all of them or none, by one process at a time, never mixed with others."""

import fcntl
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

RECORD_FILE = "generated.json"
"""What the tasks beside it were generated with."""


class TasksConflictError(ValueError):
    """A folder holds other tasks than those that were to be generated into it."""


def generate_once(root: Path, tasks: str, parameters: Mapping[str, Any], generate: Callable[[Path], None]) -> None:
    """Puts the folder that `generate` fills at `<root>/<tasks>`; does nothing where these parameters are on record.

    Where several processes ask at once, the others wait for the first. `generate` is given the same folder again, with
    what is in it, where it was killed before.

    Raises:
        TasksConflictError: `root` holds tasks of other parameters, or such as were not generated.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".generate.lock").open("w") as lock:
        with suppress(OSError):  # some network shares keep no locks: there it is for one process at a time
            fcntl.flock(lock, fcntl.LOCK_EX)
        _claim(root, tasks, json.dumps(parameters, indent=2) + "\n")
        if not (root / tasks).exists():
            staging = root / f".{tasks}.partial"
            generate(staging)
            staging.replace(root / tasks)


def _claim(root: Path, tasks: str, parameters: str) -> None:
    """Puts the parameters on record before the first task, or checks them against the record."""
    record = root / RECORD_FILE
    if not record.exists():
        if (root / tasks).exists():
            raise TasksConflictError(f"{root / tasks} holds tasks that were not generated; name another folder")
        partial = record.with_suffix(".partial")
        partial.write_text(parameters)
        partial.replace(record)
    elif (made := record.read_text(errors="replace")) != parameters:
        raise TasksConflictError(
            f"{root} holds tasks generated with {' '.join(made.split())}, asked for {' '.join(parameters.split())}; "
            "name another folder, or remove this one"
        )
