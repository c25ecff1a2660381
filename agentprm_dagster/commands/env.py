"""`agentprm env`: which kinds of environment there are, and whether one is as it should be."""

from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from agentprm_dagster.envs.check import problems
from agentprm_dagster.envs.kinds import KINDS, kind_of, settings_class
from agentprm_dagster.home import scratch_folder

FEW = 12
"""Tasks of each split that are made for a check."""


def print_kinds() -> None:
    """Prints every kind of environment with its splits, kinds of task and experts."""
    for name in KINDS:
        kind = kind_of(name)
        print(f"{name}: {', '.join(kind.task_kinds)}")
        print(f"  splits: train, {', '.join(kind.splits)}; experts: {', '.join(kind.experts)}")


def check_kind(name: str, tasks: int, seed: int) -> bool:
    """Plays a few tasks of every split and prints what is wrong; whether nothing is.

    Raises:
        typer.BadParameter: there is no such kind.
    """
    if name not in KINDS:
        raise typer.BadParameter(f"no environment {name!r}; there are: {', '.join(KINDS)}")
    few = {split: FEW for split, count in settings_class(name)().counts.items() if count}
    with TemporaryDirectory(dir=_made(scratch_folder())) as folder:
        found = list(problems(kind_of(name), settings_class(name)(**few), seed=seed, folder=Path(folder), tasks=tasks))
    for problem in found:
        typer.secho(problem, fg="red")
    print(f"{name}: {len(found)} problems" if found else f"{name}: nothing wrong was found")
    return not found


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
