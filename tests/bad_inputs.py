"""Inputs that nothing can be made of, as data: how each is built, and what its answer must name.

`answer` gives one of them to the command line in this process and tells what came of it, so that any program can try
all of `BAD_INPUTS`, or as many of its own. A good answer has an exit code other than 0, a few lines that name the
setting or file and what was expected, no traceback, and leaves the disk as it is.
"""

import hashlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from agentprm_dagster import cli

Prepare = Callable[[Path], object]
"""Puts things into a folder."""


@dataclass(frozen=True)
class BadInput:
    """A command line with the folder and the environment that it is given in."""

    name: str
    argv: tuple[str, ...]
    words: tuple[str, ...]
    """What the answer must name."""
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    """Files in the folder that the command is given in, by their paths."""
    prepare: Prepare | None = None
    """What else is in that folder."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those that name the folder's `home`, `experiments` and `data`."""


@dataclass(frozen=True)
class Answer:
    """What a command line came to."""

    code: int | None
    """Exit code; None where it ended in an error that nobody expected."""
    text: str
    """What it printed, with that error's traceback, in one line."""
    lines: int
    changed: tuple[str, ...]
    """What is different in the folder."""

    def faults(self, bad: BadInput) -> list[str]:
        """What is wrong with the answer."""
        missing = [word for word in bad.words if word not in self.text]
        return [
            *(["ends without an exit code that tells of it"] if self.code in (0, None) else []),
            *(["has a traceback"] if "Traceback" in self.text else []),
            *([f"does not name {missing}"] if missing else []),
            *([f"has {self.lines} lines"] if self.lines > MOST_LINES else []),
            *([f"changed {self.changed}"] if self.changed else []),
        ]


MOST_LINES = 20


def answer(bad: BadInput, folder: Path) -> Answer:
    """Gives the bad input to the command line, in an empty folder."""
    for name in ("experiments", *(str(Path(path).parent) for path in bad.files)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, content in bad.files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    if bad.prepare:
        bad.prepare(folder)
    import agentprm_dagster.commands.run  # noqa: F401  # loads all experiments, once and before a bad one is there

    before = dict(contents(folder))
    with _given(bad, folder) as printed:
        code = _exit_code(printed)
    after = dict(contents(folder))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    text = printed.getvalue().replace(str(folder), "").translate(_FRAME)
    return Answer(code, " ".join(text.split()), len(text.splitlines()), tuple(changed))


_FRAME = str.maketrans(dict.fromkeys("│╭╮╰╯─", " "))
"""What is drawn around an error of usage."""


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """Everything in a folder, by name, and what identifies it."""
    for path in folder.rglob("*"):
        whole = path.is_file() and not path.is_symlink()
        identity = hashlib.sha256(path.read_bytes()).hexdigest() if whole else str(path.lstat().st_mode)
        yield str(path.relative_to(folder)), identity


@contextmanager
def _given(bad: BadInput, folder: Path) -> Iterator[StringIO]:
    here = {"AGENTPRM_HOME": "home", "AGENTPRM_EXPERIMENTS": "experiments", "ALFWORLD_DATA": "data"}
    values = {name: str(folder / place) for name, place in here.items()}
    values |= {name: value.replace("{here}", str(folder)) for name, value in bad.env.items()}
    argv = ["agentprm", *(argument.replace("{here}", str(folder)) for argument in bad.argv)]
    printed, nothing = StringIO(), StringIO("")
    with (
        patch.dict(os.environ, {**values, "COLUMNS": "200"}),
        patch.object(sys, "argv", argv),
        patch.object(sys, "stdin", nothing),
        chdir(folder),
        redirect_stdout(printed),
        redirect_stderr(printed),
    ):
        yield printed


def _exit_code(printed: StringIO) -> int | None:
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # whatever it is, it is what the command line let through
        printed.write(traceback.format_exc())
    return None
