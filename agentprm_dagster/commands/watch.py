"""`agentprm watch`: its options; what it does stands in `commands.watching`, which is imported when it is called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from agentprm_dagster.commands.arguments import ComputeName, ExperimentName, Iteration
from agentprm_dagster.config.catalog import DEFAULT_COMPUTE

Asset = Literal["eval_report", "rollouts"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which episodes are to be watched."""

    experiment: str
    iteration: int
    asset: Asset = "eval_report"
    game: str | None = None
    """A game's id, or a part of it."""
    episode: str | None = None
    """An episode's id, or a part of it."""
    won: bool | None = None
    """None: whether won or lost."""
    surprising: bool = False
    """Whether those come first that ended otherwise than the PRM expected."""
    best_of: int = 1
    """1: the policy alone."""


def watch(
    experiment: ExperimentName,
    iteration: Iteration,
    asset: Annotated[Asset, typer.Option(help="Where the episodes are from.")] = "eval_report",
    game: Annotated[str | None, typer.Option(help="Of this game: its id, or a part of it.")] = None,
    episode: Annotated[str | None, typer.Option(help="This episode: its id, or a part of it.")] = None,
    outcome: Annotated[bool | None, typer.Option("--won/--lost", help="Only such.")] = None,
    surprising: Annotated[
        bool, typer.Option("--surprising", help="First those that ended otherwise than the PRM expected.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Play the episode's game now, with the policy of the iteration.")
    ] = False,
    best_of: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="N of Best-of-N; 1 is greedy, which is shown by default; with --live 4."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the episodes into this file instead, as a page.")
    ] = None,
    compute: ComputeName = DEFAULT_COMPUTE,
) -> None:
    """Replay an episode turn by turn, with what the PRM says of each; or play its game now."""
    from agentprm_dagster.commands.watching import watch_episodes

    wanted = Wanted(
        experiment, iteration, asset, game, episode, outcome, surprising, 1 if live or best_of is None else best_of
    )
    watch_episodes(wanted, (best_of or 4) if live else None, html, compute)
