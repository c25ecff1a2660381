"""The command line. Every command's own module is imported when it is called, so that `--help` answers at once."""

import signal
import sys
from errno import EDQUOT, EFBIG, ENOSPC
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal

import typer

from agentprm_dagster.commands.arguments import (
    AsJson,
    AssetName,
    Changes,
    ComputeName,
    EpisodeId,
    EventsFile,
    ExperimentName,
    HtmlFile,
    Iteration,
    PerhapsExperiment,
    PerhapsOther,
    PictureFile,
    Played,
    Seed,
    Studies,
    TwoIterations,
    Version,
    seeds_of,
)
from agentprm_dagster.commands.bundle_cli import bundle_app
from agentprm_dagster.commands.groups import env_app, experiments_app, games_app, mlflow_app
from agentprm_dagster.commands.oracle_cli import oracle_app
from agentprm_dagster.commands.promote_cli import promote
from agentprm_dagster.commands.score import score
from agentprm_dagster.commands.watch import watch
from agentprm_dagster.config.catalog import DEFAULT_COMPUTE, ExperimentError
from agentprm_dagster.config.problems import shortened

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for group in (bundle_app, experiments_app, games_app, env_app, mlflow_app, oracle_app):
    app.add_typer(group)

ByType = Annotated[bool, typer.Option("--by-type", help="Success by kind of task.")]

FULL = (ENOSPC, EDQUOT, EFBIG)
"""What the system says where there is no room left."""

RUN_EXAMPLES = """
agentprm run quickstart

agentprm run quickstart --with steered      # is called quickstart__steered from then on

agentprm run alfworld --with low_sample --with shaped --set rollouts.games=200

agentprm run quickstart --set improvement.beta=0.3 --seeds 0,1,2

agentprm run paper_3b --compute gpu
"""


@app.callback()
def root(version: Version = False) -> None:
    """AgentPRM: process reward models for language-model agents, iteration by iteration."""


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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be made, and what is found or adopted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run an experiment, or go on where it stopped, and print the results.

    What --with, --set and --seeds make of it is an experiment of its own,
    with a name that says so. All other commands take that name.
    """
    from agentprm_dagster.config.compose import compose

    try:
        names = compose(experiment, studies or (), settings or (), seeds_of(seeds))
    except ExperimentError as error:
        raise typer.BadParameter(str(error)) from error
    if dry_run:
        from agentprm_dagster.commands.dry_run import print_dry_run

        print_dry_run(names, iterations, compute, as_json=as_json)
        return
    from agentprm_dagster.commands.run import run_experiments

    run_experiments(names, iterations, compute, as_json=as_json)


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


@app.command()
def status(experiment: PerhapsExperiment = None, as_json: AsJson = False) -> None:
    """Tell what is made, what runs, waits in the queue or has failed, and what is still to be made."""
    from agentprm_dagster.commands.status import print_status

    print_status(experiment, as_json=as_json)


@app.command()
def report(experiment: ExperimentName, by_type: ByType = False, as_json: AsJson = False) -> None:
    """Print the results of all iterations made so far."""
    from agentprm_dagster.commands.report import print_report

    print_report(experiment, by_type=by_type, as_json=as_json)


@app.command()
def compare(
    experiment: ExperimentName,
    other: PerhapsOther = None,
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
app.command()(score)


@app.command()
def lineage(
    experiment: ExperimentName,
    asset: AssetName,
    iteration: Iteration = 0,
    down: Annotated[bool, typer.Option("--down", help="What was made from it, instead of what made it.")] = False,
    digest: Annotated[str | None, typer.Option(help="A version by the beginning of its digest.")] = None,
    picture: PictureFile = None,
    html: HtmlFile = None,
    openlineage: EventsFile = None,
    diff: TwoIterations = None,
    as_json: AsJson = False,
) -> None:
    """Tell which data, policies and code made an artifact, from the manifests alone."""
    from agentprm_dagster.commands.lineage import print_differences, print_lineage

    if diff:
        print_differences(experiment, asset, diff, as_json=as_json)
    else:
        files = (picture, html, openlineage)
        print_lineage(experiment, asset, iteration, digest, *files, down=down, as_json=as_json)


app.command()(promote)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Read and hash everything that was committed; exit code 1 if anything changed."""
    from agentprm_dagster.commands.lineage import print_verification

    raise typer.Exit(0 if print_verification(as_json=as_json) else 1)


@app.command()
def trace(experiment: ExperimentName, episode: EpisodeId, iteration: Iteration, asset: Played = "eval_report") -> None:
    """Write an episode into MLflow as a trace, turn by turn with its values, and print its address."""
    from agentprm_dagster.commands.mlflow import print_traces

    print_traces(experiment, episode, iteration, asset)


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
def serve(
    by_openenv: Annotated[
        bool, typer.Option("--openenv", help="By the OpenEnv protocol (needs the extra openenv); there is no other.")
    ] = False,
    games: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Data folder; by default ALFWORLD_DATA.")
    ] = None,
    split: Annotated[
        Literal["train", "valid_seen", "valid_unseen"] | None, typer.Option(help="Which games; without it all.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine's loopback.")] = 8000,
    engine: Annotated[Literal["household", "stock"], typer.Option(help="Fast engine or stock engine.")] = "household",
    max_steps: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Commands of an episode; without it there is no limit.")
    ] = None,
    sessions: Annotated[int, typer.Option(min=1, max=4096, help="Clients at once, each with a game of its own.")] = 64,
) -> None:
    """Serve ALFWorld's games, real or generated ones, to agents and trainers of others, on this machine only."""
    if not by_openenv:
        raise typer.BadParameter("expected --openenv: OpenEnv is the one protocol that games are served by")
    from agentprm_dagster.commands.serve import serve_openenv

    serve_openenv(games, split, port, engine, max_steps, sessions)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check versions, games, devices and ports, and say how to get what is missing."""
    from agentprm_dagster.commands.doctor import examine

    raise typer.Exit(0 if examine(as_json=as_json) else 1)


@app.command()
def ui(
    dagster_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow UI.")] = 5000,
    in_browser: Annotated[bool, typer.Option("--open", help="Open Dagster in the browser.")] = False,
) -> None:
    """Show everything in the browser: Dagster (with its daemon) and MLflow, on this machine only.

    Dagster's records are kept under the home folder (AGENTPRM_HOME); a DAGSTER_HOME that is set is not used.
    """
    from agentprm_dagster.commands.ui import serve

    serve(dagster_port, mlflow_port, in_browser=in_browser)


def main() -> None:
    """Runs the command line; errors of our own and of files are printed in a line, any other keeps its traceback."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A script's background job ignores interrupts, and Dagster has SIGTERM do what an interrupt does.
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
