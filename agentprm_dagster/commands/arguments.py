"""Arguments that several commands take, and what of them is refused."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from agentprm_dagster.config.catalog import ExperimentError, load_compute, require_experiment
from agentprm_dagster.config.problems import shortened

LAST = 1000
"""No iteration has a higher number."""
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
    return _writable(path, PICTURES)


def html_file(path: Path | None) -> Path | None:
    """Where a page can be written, or nothing."""
    return _writable(path, (".html", ".htm"))


def iterations(pair: tuple[int, int] | None) -> tuple[int, int] | None:
    """Two iterations that there can be, or nothing."""
    if pair and not all(0 <= iteration <= LAST for iteration in pair):
        raise typer.BadParameter(f"expected two iterations between 0 and {LAST}, got {shortened(str(pair))}")
    return pair


def _writable(path: Path | None, endings: tuple[str, ...]) -> Path | None:
    if path is not None and (path.suffix.lower() not in endings or not path.parent.is_dir()):
        raise typer.BadParameter(
            f"expected a file that ends in {', '.join(endings)}, in a folder that is there; got {path}"
        )
    return path


ExperimentName = Annotated[str, typer.Argument(metavar="EXPERIMENT", callback=known, help="Name of an experiment.")]
Iteration = Annotated[int, typer.Option("--iteration", "-i", min=0, max=LAST, help="Iteration; 0 is pi_0.")]
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
PictureFile = Annotated[
    Path | None,
    typer.Option(
        "--picture", dir_okay=False, callback=drawable, help=f"Draw it into this file ({', '.join(PICTURES)})."
    ),
]
HtmlFile = Annotated[
    Path | None,
    typer.Option("--html", dir_okay=False, callback=html_file, help="Write it as one page for a browser."),
]
EventsFile = Annotated[
    Path | None,
    typer.Option(
        "--openlineage", dir_okay=False, allow_dash=True, help="Write OpenLineage events, one a line; - prints."
    ),
]
TwoIterations = Annotated[
    tuple[int, int] | None,
    typer.Option(
        "--diff",
        metavar="I J",
        callback=iterations,
        help="Tell what differs between the makers of two iterations' artifacts.",
    ),
]
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
