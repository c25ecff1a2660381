"""What processes that train together tell the stage that has started them, in files of one folder.

    progress.jsonl    how far the first of them is, and its numbers: a JSON a line
    report.json       the first one's report, once all is done
    error-RANK.json   what went wrong in one of them

Files of their own, so that nothing which a library prints is taken for one of these.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from traceback import format_exception

from pydantic import TypeAdapter

from agentprm_dagster.episodes.stage import Monitor, StageReport

TOLD, PROGRESS, REPORT = "told", "progress.jsonl", "report.json"

_LAST_LINES = 40
"""Of a traceback that are repeated."""


def told_folder(request: Path) -> Path:
    """The folder, beside the request's file."""
    return request.parent / TOLD


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training."""

    report: StageReport
    gpus: list[str]
    """The names of those that its processes have computed on."""


_TRAINED = TypeAdapter(Trained)


class TellingMonitor:
    """A monitor that writes down what it is told."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS

    def progress(self, done: int, total: int, what: str) -> None:
        """A line with what is done."""
        self._tell({"done": done, "total": total, "what": what})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """A line with the numbers."""
        self._tell({"metrics": dict(values), "step": step})

    def _tell(self, line: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=float) + "\n")


class Listener:
    """Reads what a `TellingMonitor` writes, in another process."""

    def __init__(self, folder: Path, monitor: Monitor) -> None:
        self._path, self._monitor, self._read = folder / PROGRESS, monitor, 0

    def pass_on(self) -> None:
        """Tells the monitor what is new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")  # the last line may be half written
        self._read += len(whole) + len(end)
        for line in whole.splitlines():
            said = json.loads(line)
            if "metrics" in said:
                self._monitor.metrics(said["metrics"], said["step"])
            else:
                self._monitor.progress(said["done"], said["total"], said["what"])


def tell_trained(folder: Path, trained: Trained) -> None:
    """Writes down what came of it; numbers that are not finite too."""
    (folder / REPORT).write_text(json.dumps(asdict(trained), default=float), encoding="utf-8")


def hear_trained(folder: Path) -> Trained:
    """What `tell_trained` wrote."""
    return _TRAINED.validate_json((folder / REPORT).read_bytes())


def tell_error(folder: Path, rank: int, error: BaseException) -> None:
    """Writes down what went wrong in a process: its message and the end of its traceback."""
    message = f"{type(error).__name__}: {error}"
    words = {"at": time.time(), "rank": rank, "message": message, "traceback": last_lines(error)}
    (folder / f"error-{rank}.json").write_text(json.dumps(words), encoding="utf-8")


def last_lines(error: BaseException) -> str:
    """The end of an error's traceback."""
    return "\n".join("".join(format_exception(error)).rstrip().splitlines()[-_LAST_LINES:])


def hear_error(folder: Path) -> str | None:
    """What went wrong first: others fail because they are left alone. None where no process has said anything."""
    errors = [json.loads(path.read_bytes()) for path in folder.glob("error-*.json")]
    if not errors:
        return None
    first = min(errors, key=lambda error: error["at"])
    return f"process {first['rank']}: {first['message']}\n{first['traceback']}"
