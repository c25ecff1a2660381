"""The command line. Every command's own module is imported when it is called, so that `--help` answers at once."""

import sys
from errno import EDQUOT, EFBIG, ENOSPC
from io import TextIOWrapper
from pathlib import Path
from re import fullmatch
from typing import Annotated, Literal

import typer

from agentprm_dagster.commands.arguments import (
    PICTURES,
    AsJson,
    Changes,
    ComputeName,
    ExperimentName,
    GameCount,
    Iteration,
    Seed,
    Studies,
    drawable,
    known_or_none,
)
from agentprm_dagster.commands.watch import watch
from agentprm_dagster.config.catalog import DEFAULT_COMPUTE, ExperimentError
from agentprm_dagster.config.problems import shortened

app = typer.Typer(
    help="AgentPRM: process reward models for language-model agents, iteration by iteration.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
games_app = typer.Typer(help="List, generate or download games.", no_args_is_help=True)
app.add_typer(games_app, name="games")
env_app = typer.Typer(help="Kinds of environment: list and check them.", no_args_is_help=True)
app.add_typer(env_app, name="env")
mlflow_app = typer.Typer(help="What MLflow knows of the artifacts.", no_args_is_help=True)
app.add_typer(mlflow_app, name="mlflow")

FULL = (ENOSPC, EDQUOT, EFBIG)
"""What the system says where there is no room left."""

RUN_EXAMPLES = """
agentprm run quickstart

agentprm run quickstart --with steered      # is called quickstart__steered from then on

agentprm run alfworld --with low_sample --with shaped --set rollouts.games=200

agentprm run quickstart --set improvement.beta=0.3 --seeds 0,1,2

agentprm run paper_3b --compute gpu
"""


@app.command(epilog=RUN_EXAMPLES)
def run(
    experiment: ExperimentName,
    iterations: Annotated[
        int | None, typer.Option(min=1, max=1000, help="How many; by default as many as the experiment plans.")
    ] = None,
    studies: Studies = None,
    settings: Changes = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="SEED,...", help="Run it with each seed, then print a table over all.")
    ] = None,
    compute: ComputeName = DEFAULT_COMPUTE,
) -> None:
    """Run an experiment, or go on where it stopped, and print the results.

    What --with, --set and --seeds make of it is an experiment of its own,
    with a name that says so. All other commands take that name.
    """
    from agentprm_dagster.config.compose import compose

    try:
        names = compose(experiment, studies or (), settings or (), _seeds(seeds))
    except ExperimentError as error:
        raise typer.BadParameter(str(error)) from error
    from agentprm_dagster.commands.run import run_experiments

    run_experiments(names, iterations, compute)


@app.command()
def plan(
    experiment: ExperimentName,
    studies: Studies = None,
    settings: Changes = None,
    compute: ComputeName = DEFAULT_COMPUTE,
    gpus: Annotated[
        int | None, typer.Option(min=1, max=1024, help="GPUs that a model is trained on; the compute's without.")
    ] = None,
    strategy: Annotated[
        Literal["ddp", "fsdp2"] | None,
        typer.Option(help="What each of several holds: all weights, or a share; without as the compute, else fsdp2."),
    ] = None,
    memory: Annotated[float, typer.Option(min=1, max=10_000, help="Memory of each in GB.")] = 80,
    assumed: Annotated[
        list[str] | None,
        typer.Option("--assume", metavar="NAME=VALUE", help="Change one of the numbers that it prints; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what every stage would take: parameters, tokens, memory, time; exit code 1 if one does not fit. Nothing is
    made, fetched or loaded.
    """
    from agentprm_dagster.config.catalog import load_compute
    from agentprm_dagster.config.compose import composed

    try:
        planned = composed(experiment, studies or (), settings or ())
    except ExperimentError as error:
        raise typer.BadParameter(str(error)) from error
    from agentprm_dagster.commands.plan import print_plan

    how = load_compute(compute)
    training = how.training
    usual = "fsdp2" if training.launch == "process" else training.strategy
    spread = how.model_copy(update={"training": training.model_copy(update={"strategy": strategy or usual})})
    count = gpus or training.processes
    fits = print_plan(planned, spread, gpus=count, memory=memory, assumed=assumed or (), as_json=as_json)
    raise typer.Exit(0 if fits else 1)


def _seeds(text: str | None) -> list[int]:
    """Those of a text such as `0,1,2`."""
    seeds = [int(part) for part in (text or "").split(",") if fullmatch("[0-9]{1,10}", part) and int(part) < 2**32]
    if text is not None and len({*seeds}) < len(text.split(",")):
        raise typer.BadParameter(f"--seeds: expected whole numbers, each once, as in 0,1,2; got {shortened(text)!r}")
    return seeds


@app.command()
def report(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """Print the results of all iterations made so far."""
    from agentprm_dagster.commands.report import print_report

    print_report(experiment, as_json=as_json)


@app.command()
def compare(
    experiment: ExperimentName,
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", callback=known_or_none, help="Another experiment.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell game by game who wins more: policies beside pi_0 and Best-of-N beside greedy, or beside those of OTHER."""
    from agentprm_dagster.commands.compare import print_comparison

    print_comparison(experiment, other, as_json=as_json)


@app.command()
def costs(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """Print what every stage took: seconds, tokens, decisions."""
    from agentprm_dagster.commands.costs import print_costs

    print_costs(experiment, as_json=as_json)


@app.command()
def evaluate(
    experiment: ExperimentName,
    iteration: Iteration,
    split: Annotated[str, typer.Option(help="Which games.")] = "valid_seen",
    max_steps: Annotated[int, typer.Option(min=1, max=10_000, help="Actions an episode may take.")] = 30,
    best_of: Annotated[
        int, typer.Option(min=1, max=4096, help="N of Best-of-N against the iteration's PRM; 1 is greedy.")
    ] = 1,
    seed: Seed = 0,
    games: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Data folder (holds json_2.1.1) to play instead.")
    ] = None,
    compute: ComputeName = DEFAULT_COMPUTE,
    as_json: AsJson = False,
) -> None:
    """Evaluate the policy of an iteration. Nothing is stored."""
    from agentprm_dagster.commands.evaluate import evaluate_policy

    evaluate_policy(experiment, iteration, split, max_steps, best_of, seed, games, compute, as_json=as_json)


app.command()(watch)


@app.command()
def lineage(
    experiment: ExperimentName,
    asset: Annotated[str, typer.Argument(help="An asset, such as prm.")],
    iteration: Iteration = 0,
    down: Annotated[bool, typer.Option("--down", help="What was made from it, instead of what made it.")] = False,
    digest: Annotated[str | None, typer.Option(help="A version by the beginning of its digest.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(dir_okay=False, callback=drawable, help=f"Draw it into this file ({', '.join(PICTURES)})."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell which data, policies and code made an artifact, from the manifests alone."""
    from agentprm_dagster.commands.lineage import print_lineage

    print_lineage(experiment, asset, iteration, digest, picture, down=down, as_json=as_json)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Read and hash everything that was committed; exit code 1 if anything changed."""
    from agentprm_dagster.commands.lineage import print_verification

    raise typer.Exit(0 if print_verification(as_json=as_json) else 1)


@app.command()
def play(
    game: Annotated[str, typer.Argument(help="A game.tw-pddl, its folder, or a game's id under ALFWORLD_DATA.")],
    engine: Annotated[
        Literal["household", "alfworld"], typer.Option(help="Fast engine or stock engine.")
    ] = "household",
    commands: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Commands, one a line.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play a game by hand, or from a file of commands; with --json one JSON line an answer, the reset's first."""
    from agentprm_dagster.commands.play import play_game

    play_game(game, engine, commands, as_json=as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check versions, games, devices and ports, and say how to get what is missing."""
    from agentprm_dagster.commands.doctor import examine

    raise typer.Exit(0 if examine(as_json=as_json) else 1)


@app.command()
def ui(
    dagster_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Show everything in the browser: Dagster (with its daemon) and MLflow, on this machine only.

    Dagster's records are kept under the home folder (AGENTPRM_HOME); a DAGSTER_HOME that is set is not used.
    """
    from agentprm_dagster.commands.ui import serve

    serve(dagster_port, mlflow_port)


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
    size: Annotated[Literal["small", "medium", "full"], typer.Option(help="How large the rooms are.")] = "small",
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
    name: Annotated[str, typer.Argument(help="A kind of environment, such as alfworld.")],
    tasks: Annotated[int, typer.Option(min=1, max=1000, help="Tasks of every split to play.")] = 3,
    seed: Seed = 0,
) -> None:
    """Play an environment and name every way in which it is wrong; exit code 1 if there is one."""
    from agentprm_dagster.commands.env import check_kind

    raise typer.Exit(0 if check_kind(name, tasks, seed) else 1)


@mlflow_app.command("sync")
def sync_mlflow() -> None:
    """Write down in MLflow what it lacks, from the manifests; exit code 1 if something could not be written."""
    from agentprm_dagster.commands.mlflow import print_sync

    raise typer.Exit(0 if print_sync() else 1)


def main() -> None:
    """Runs the command line; errors of our own and of files are printed in a line, any other keeps its traceback."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        app()
    except Exception as error:  # printed or raised again below
        typer.secho(_message(error), fg="red", err=True)
        sys.exit(1)


def _message(error: Exception) -> str:
    """An error in a line; raised again where it is a fault of the program."""
    if type(error).__module__.startswith("agentprm_dagster"):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and (error.filename is not None or error.errno in FULL):
        place = shortened(str(error.filename or "what is printed"))
        return (
            f"{type(error).__name__}: {place}: {error.strerror}. Expected a place that can be "
            "read and written: name another, or see to its rights and the room on its disk"
        )
    raise error
