"""`agentprm report`: the table of an experiment's evaluations, from the store alone."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress

import typer
from rich.console import Console
from rich.table import Table

from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.results import Row, cells, columns
from agentprm_dagster.reports.seeds import SEED_COLUMNS, seed_cells, seeds_in_words
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.evaluations import current_reports, current_rows, evaluated
from agentprm_dagster.stages.seeds import of_other_seeds, processors, seed_of, seed_rows

TABLE_WIDTH = 150
"""Columns of text that the table needs; where no terminal says otherwise it gets them."""


def print_report(experiment: str, *, as_json: bool = False) -> None:
    """Prints all current evaluations of an experiment."""
    store = ArtifactsResource().store()
    rows = current_rows(store, experiment)
    print_rows(rows, load_experiment(experiment).environment.kind, as_json=as_json)
    if rows and not as_json:
        _print_seeds(store, experiment)
    tell_left_out(store, experiment)


def _print_seeds(store: ArtifactStore, experiment: str) -> None:
    """What other seeds gave, and which processor trained the policies."""
    reports = current_reports(store, experiment)
    if not reports:
        return
    every = list(reports)
    for version in of_other_seeds(store, experiment, reports):
        with suppress(ArtifactError):  # its own report says what is wrong with it
            every.append(store.current(version.experiment, version.asset, version.iteration))
    lines = seed_rows(every)
    print(seeds_in_words(lines, seed_of(reports[0]), processors(store, every)))
    if lines:
        _print_table(SEED_COLUMNS, map(seed_cells, lines))


def tell_left_out(store: ArtifactStore, experiment: str) -> None:
    """Names the evaluations that stand in no table, and why."""
    for sentence in evaluated(store, experiment).left_out:
        typer.secho(f"{experiment}: {sentence}", fg="yellow", err=True)


def print_rows(rows: Sequence[Row], environment: str, *, as_json: bool) -> None:
    """Prints evaluations in a kind of environment as JSON or as a table."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    if not rows:
        print("Nothing has been evaluated yet: `agentprm run EXPERIMENT` does it.")
        return
    kinds = kind_of(environment).task_kinds
    _print_table(columns(kinds), (cells(row, kinds) for row in rows))


def _print_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    table = Table(*columns)
    for line in lines:
        table.add_row(*line)
    console = Console()
    console.width = console.width if console.is_terminal else TABLE_WIDTH
    console.print(table)
