"""`agentprm export` and `agentprm check` on the command line; what they do is imported when they are called."""

from pathlib import Path
from typing import Annotated

import typer

from agentprm_dagster.commands.arguments import AsJson, ExperimentName

bundle_app = typer.Typer()


@bundle_app.command()
def export(
    experiment: ExperimentName,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    iteration: Annotated[int, typer.Option("--iteration", "-i", min=1, max=1000, help="Whose policy.")],
    hub: Annotated[
        str | None,
        typer.Option(metavar="ORG", help="Who puts it on the Hugging Face hub: its cards then link to each other."),
    ] = None,
) -> None:
    """Write a bundle that a stranger can check: policy, reward model, rollouts, targets, episodes, scores, lineage."""
    from agentprm_dagster.commands.bundle import export_bundle

    export_bundle(experiment, iteration, out, hub)


@bundle_app.command()
def check(
    bundle: Annotated[Path, typer.Argument(file_okay=False, help="A folder that `export` wrote.")],
    play: Annotated[bool, typer.Option("--play", help="Let the policy play its greedy evaluation again, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a bundle, offline: hash, replay every episode, compute targets and scores again.

    Exit code 0: all is as it says; 1: something differs, which is named;
    3: nothing differs, but not all could be checked here.
    """
    from agentprm_dagster.commands.bundle import check_bundle

    raise typer.Exit(check_bundle(bundle, play=play, as_json=as_json))
