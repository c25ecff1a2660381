"""Groups of commands: experiments, games, env, mlflow."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from agentprm_dagster.commands.arguments import AsJson, ExperimentName, GameCount, OtherExperiment, Seed

experiments_app = typer.Typer(name="experiments", help="List, show and compare experiments.", no_args_is_help=True)
games_app = typer.Typer(name="games", help="List, generate or download games.", no_args_is_help=True)
env_app = typer.Typer(name="env", help="Kinds of environment: list and check them.", no_args_is_help=True)
mlflow_app = typer.Typer(name="mlflow", help="What MLflow knows of the artifacts.", no_args_is_help=True)


@experiments_app.command("list")
def list_experiments(as_json: AsJson = False) -> None:
    """Name all experiments and say what they are."""
    from agentprm_dagster.commands.experiments import print_experiments

    print_experiments(as_json=as_json)


@experiments_app.command("show")
def show_experiment(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """Print the settings of an experiment that are not the defaults; with --json all of them."""
    from agentprm_dagster.commands.experiments import print_experiment

    print_experiment(experiment, as_json=as_json)


@experiments_app.command("diff")
def compare_settings(experiment: ExperimentName, other: OtherExperiment, as_json: AsJson = False) -> None:
    """Print the settings in which two experiments differ."""
    from agentprm_dagster.commands.experiments import print_differences

    print_differences(experiment, other, as_json=as_json)


@games_app.command("list")
def list_games(
    folder: Annotated[Path | None, typer.Option("--dir", help="Data folder; by default ALFWORLD_DATA.")] = None,
    as_json: AsJson = False,
) -> None:
    """Count the games of every split and task type."""
    from agentprm_dagster.commands.games import print_games

    print_games(folder, as_json=as_json)


@games_app.command("generate")
def generate(
    folder: Annotated[Path, typer.Option("--dir", file_okay=False, help="Where to put them.")],
    seed: Seed = 0,
    train: GameCount = 1000,
    valid_seen: GameCount = 200,
    valid_unseen: GameCount = 200,
    size: Annotated[
        Literal["small", "medium", "full", "varied"], typer.Option(help="How large the rooms are.")
    ] = "small",
) -> None:
    """Make solvable games of all six task types in ALFWorld's own format."""
    from agentprm_dagster.commands.games import generate_into

    generate_into(folder, seed, {"train": train, "valid_seen": valid_seen, "valid_unseen": valid_unseen}, size)


@games_app.command("download")
def download(
    folder: Annotated[
        Path | None, typer.Option("--dir", file_okay=False, help="Where to put them; by default ALFWORLD_DATA.")
    ] = None,
) -> None:
    """Fetch the real games with ALFWorld's own downloader."""
    from agentprm_dagster.commands.games import download_into

    download_into(folder)


@env_app.command("list")
def list_environments() -> None:
    """Name the kinds of environment, their splits, kinds of task and experts."""
    from agentprm_dagster.commands.env import print_kinds

    print_kinds()


@env_app.command("check")
def check_environment(
    name: Annotated[str, typer.Argument(help="A kind of environment, such as alfworld, or an experiment.")],
    tasks: Annotated[int, typer.Option(min=1, max=1000, help="Tasks of every split to play.")] = 3,
    seed: Seed = 0,
) -> None:
    """Play an environment and name every way in which it is wrong; exit code 1 if there is one."""
    from agentprm_dagster.commands.env import check_named

    raise typer.Exit(0 if check_named(name, tasks, seed) else 1)


@mlflow_app.command("sync")
def sync_mlflow() -> None:
    """Write down in MLflow what it lacks, from the manifests; exit code 1 if something could not be written."""
    from agentprm_dagster.commands.mlflow import print_sync

    raise typer.Exit(0 if print_sync() else 1)
