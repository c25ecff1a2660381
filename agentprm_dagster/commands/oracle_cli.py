"""`agentprm oracle` on the command line; what it does is imported when it is called."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from agentprm_dagster.commands.arguments import AsJson, ComputeName, ExperimentName, Iteration, Seed
from agentprm_dagster.config.catalog import DEFAULT_COMPUTE

oracle_app = typer.Typer(
    name="oracle", help="Near-exact values to judge reward models by: play them, score by them.", no_args_is_help=True
)


class Scored(StrEnum):
    """The assets that say what an answer is worth."""

    PRM = "prm"
    INVERSE_PRM = "inverse_prm"
    COMMITTEE = "prm_committee"
    IMPLICIT = "improved_policy"
    """Its implicit reward, log pi_i - log pi_(i-1)."""


@oracle_app.command("play")
def play_oracle(
    experiment: ExperimentName,
    iteration: Iteration = 0,
    states: Annotated[int, typer.Option(min=1, max=10_000, help="States, spread over tasks, phases and games.")] = 100,
    actions: Annotated[int, typer.Option(min=2, max=99, help="Different answers tried in each state.")] = 8,
    continuations: Annotated[int, typer.Option(min=4, max=4096, help="Plays to the end behind each answer.")] = 64,
    temperature: Annotated[float, typer.Option(min=0.01, max=2, help="At which the answers are drawn.")] = 1.5,
    of: Annotated[
        Literal["rollouts", "eval_report"], typer.Option(help="Whose episodes the states lie on.")
    ] = "rollouts",
    seed: Seed = 0,
    compute: ComputeName = DEFAULT_COMPUTE,
) -> None:
    """Play out several answers in real states of pi_i many times, and keep what they were worth in the store.

    What was played is kept shard by shard: a call that was killed goes on where it stopped.
    """
    from agentprm_dagster.commands.oracle import Asked
    from agentprm_dagster.commands.oracle import play_oracle as play

    play(experiment, iteration, Asked(states, actions, continuations, temperature, seed, of), compute)


@oracle_app.command("score")
def score_prms(
    prms: Annotated[
        list[str],
        typer.Argument(metavar="EXPERIMENT[:ITERATION]...", help="Whose reward models, of the last iteration."),
    ],
    assets: Annotated[
        list[Scored] | None,
        typer.Option("--asset", help="Which model, or a policy's log pi_i - log pi_(i-1); may be repeated."),
    ] = None,
    oracle: Annotated[
        str | None,
        typer.Option(metavar="EXPERIMENT[:ITERATION]", help="By which oracle; by default that of the model's policy."),
    ] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the table as Markdown, too.")] = None,
    compute: ComputeName = DEFAULT_COMPUTE,
    as_json: AsJson = False,
) -> None:
    """Score reward models by an oracle: order, regret, correlation, calibration, with intervals over states."""
    from agentprm_dagster.commands.oracle_score import score_prms as run

    run(prms, [each.value for each in assets or [Scored.PRM]], oracle, seed, compute, out, as_json=as_json)
