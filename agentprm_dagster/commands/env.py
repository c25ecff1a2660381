"""`agentprm env`: which kinds of environment there are, and whether one is as it should be."""

from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from agentprm_dagster.config.catalog import ExperimentError, load_experiment
from agentprm_dagster.envs.check import problems
from agentprm_dagster.envs.kinds import KINDS, kind_of, settings_class
from agentprm_dagster.envs.settings import EnvironmentSettings
from agentprm_dagster.home import make_private, scratch_folder

FEW = 12
"""Tasks of each split that are made for a check."""


def print_kinds() -> None:
    """Prints every kind of environment with its splits, kinds of task and experts."""
    for name in KINDS:
        kind = kind_of(name)
        print(f"{name}: {', '.join(kind.task_kinds)}")
        print(f"  splits: train, {', '.join(kind.splits)}; experts: {', '.join(kind.experts)}")


def check_named(name: str, tasks: int, seed: int) -> bool:
    """Plays a few tasks of every split and prints what is wrong; whether nothing is.

    Args:
        name: a kind, with its usual settings, or an experiment, with its own.
        tasks: how many of each split are played.
        seed: see `envs.check.problems`.

    Raises:
        typer.BadParameter: there is neither.
    """
    settings = _few(_settings(name))
    kind = kind_of(settings.kind)
    with TemporaryDirectory(dir=make_private(scratch_folder())) as folder:
        found = list(problems(kind, settings, seed=seed, folder=Path(folder), tasks=tasks))
    for problem in found:
        typer.secho(problem, fg="red")
    print(f"{name}: {len(found)} problems" if found else f"{name}: nothing wrong was found")
    return not found


def _settings(name: str) -> EnvironmentSettings:
    if name in KINDS:
        settings: EnvironmentSettings = settings_class(name)()
        return settings
    try:
        return load_experiment(name).environment
    except ExperimentError as error:
        raise typer.BadParameter(f"no kind of environment {name!r}; there are: {', '.join(KINDS)}; {error}") from error


def _few(settings: EnvironmentSettings) -> EnvironmentSettings:
    """With few tasks of every split."""
    few = {split: min(FEW, count) for split, count in settings.counts.items() if count}
    return type(settings).model_validate({**settings.model_dump(), **few})
