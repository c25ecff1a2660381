"""`agentprm promote`: its options."""

from typing import Annotated, Literal

import typer

from agentprm_dagster.commands.arguments import ExperimentName


def promote(
    experiment: ExperimentName,
    iteration: Annotated[int, typer.Option("--iteration", "-i", min=1, help="Which iteration.")],
    why: Annotated[str, typer.Option(help="The reason, which is recorded.")],
    verdict: Annotated[
        Literal["promote", "repeat", "stop"],
        typer.Option(help="Take its policy on, try it again with another seed, or end the experiment before it."),
    ] = "promote",
    who: Annotated[str, typer.Option(help="The name that is recorded; without it, this user's.")] = "",
) -> None:
    """Decide of an iteration's policy in the place of the tests; it stands until the policy is made anew."""
    from agentprm_dagster.commands.promote import decide

    decide(experiment, iteration, verdict, why, who)
