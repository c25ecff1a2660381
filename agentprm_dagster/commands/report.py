"""`agentprm report`: the table of an experiment's evaluations, from the store alone."""

import json
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from agentprm_dagster.core.results import COLUMNS, Row, cells
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.evaluations import current_rows, evaluated

TABLE_WIDTH = 140
"""Columns of text that the table needs; where no terminal says otherwise it gets them."""


def print_report(experiment: str, *, as_json: bool = False) -> None:
    """Prints all current evaluations of an experiment."""
    store = ArtifactsResource().store()
    print_rows(current_rows(store, experiment), as_json=as_json)
    tell_left_out(store, experiment)


def tell_left_out(store: ArtifactStore, experiment: str) -> None:
    """Names the evaluations that stand in no table, and why."""
    for sentence in evaluated(store, experiment).left_out:
        typer.secho(f"{experiment}: {sentence}", fg="yellow", err=True)


def print_rows(rows: Sequence[Row], *, as_json: bool) -> None:
    """Prints evaluations as JSON or as a table."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    if not rows:
        print("Nothing has been evaluated yet: `agentprm run EXPERIMENT` does it.")
        return
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*cells(row))
    console = Console()
    console.width = console.width if console.is_terminal else TABLE_WIDTH
    console.print(table)
