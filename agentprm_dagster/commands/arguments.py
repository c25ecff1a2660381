"""Arguments that several commands take, and what of them is refused."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from agentprm_dagster.config.catalog import ExperimentError, load_compute, require_experiment

PICTURES = (".png", ".svg", ".pdf")
"""What a lineage can be drawn as."""


def known(name: str) -> str:
    """The name of an experiment that is there."""
    try:
        require_experiment(name)
    except ExperimentError as error:
        raise typer.BadParameter(str(error)) from error
    return name


def known_or_none(name: str | None) -> str | None:
    """The same, or nothing."""
    return name if name is None else known(name)


def compute(name: str) -> str:
    """The name of a compute that is there, or a file's path."""
    try:
        load_compute(name)
    except ExperimentError as error:
        raise typer.BadParameter(str(error)) from error
    return name


def drawable(path: Path | None) -> Path | None:
    """Where a picture can be drawn into, or nothing."""
    if path is not None and (path.suffix.lower() not in PICTURES or not path.parent.is_dir()):
        raise typer.BadParameter(
            f"expected a file that ends in {', '.join(PICTURES)}, in a folder that is there; got {path}"
        )
    return path


ExperimentName = Annotated[str, typer.Argument(metavar="EXPERIMENT", callback=known, help="Name of an experiment.")]
Iteration = Annotated[int, typer.Option("--iteration", "-i", min=0, max=1000, help="Iteration; 0 is pi_0.")]
EpisodeId = Annotated[str, typer.Argument(metavar="EPISODE", help="An episode's id, as it stands in its table.")]
Played = Annotated[Literal["eval_report", "rollouts"], typer.Option("--asset", help="The asset that holds it.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all that is drawn.")]
GameCount = Annotated[int, typer.Option(min=0, max=100_000)]
ComputeName = Annotated[
    str,
    typer.Option(
        "--compute",
        envvar="AGENTPRM_COMPUTE",
        metavar="NAME|FILE",
        callback=compute,
        help="Where and how models are computed: laptop, gpu, or a YAML file of your own.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Studies = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="STUDY",
        help="Lay a study over it; may be repeated, in order. `agentprm doctor` lists them.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; may be repeated. The value is YAML."),
]
