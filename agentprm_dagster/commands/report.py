"""`agentprm report`: the table of an experiment's evaluations, from the store alone."""

import json
from collections.abc import Sequence
from contextlib import suppress

import typer

from agentprm_dagster.commands.tables import print_table
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.results import Row, cells, columns
from agentprm_dagster.reports.seeds import SEED_COLUMNS, seed_cells, seeds_in_words
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.evaluations import current_reports, current_rows, evaluated
from agentprm_dagster.stages.seeds import of_other_seeds, processors, seed_of, seed_rows

TOLD = ("split", "policy", "n", "success", "95% interval")
"""The columns that every terminal has room for."""


def print_report(experiment: str, *, by_type: bool = False, as_json: bool = False) -> None:
    """Prints all current evaluations of an experiment.

    Raises:
        ArtifactError: there are none.
    """
    store = ArtifactsResource().store()
    rows = current_rows(store, experiment)
    tell_left_out(store, experiment)
    if not rows:
        raise ArtifactError(f"{experiment} has evaluated nothing yet: `agentprm run {experiment}` does it")
    print_rows(rows, load_experiment(experiment).environment.kind, by_type=by_type, as_json=as_json)
    if not as_json:
        _print_seeds(store, experiment)


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
        print_table(SEED_COLUMNS, map(seed_cells, lines), len(SEED_COLUMNS))


def tell_left_out(store: ArtifactStore, experiment: str) -> None:
    """Names the evaluations that stand in no table, and why."""
    for sentence in evaluated(store, experiment).left_out:
        typer.secho(f"{experiment}: {sentence}", fg="yellow", err=True)


def print_rows(rows: Sequence[Row], environment: str, *, by_type: bool = False, as_json: bool) -> None:
    """Prints evaluations in a kind of environment as JSON or as a table; `by_type`: success by kind of task."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    kinds = kind_of(environment).task_kinds
    every = columns(kinds)
    shown = [
        i for i, name in enumerate(every) if not by_type or name in ("split", "policy", "success", *kinds.values())
    ]
    lines = [cells(row, kinds) for row in rows]
    least = len(shown) if by_type else len(TOLD)
    print_table([every[i] for i in shown], ([line[i] for i in shown] for line in lines), least)
