"""`agentprm costs`: what every stage of an experiment took, and all of them together."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from agentprm_dagster.provenance.costs import COLUMNS, cells, costs, current_artifacts, total
from agentprm_dagster.resources.artifacts import ArtifactsResource


def print_costs(experiment: str, *, as_json: bool) -> None:
    """Prints the ledger of the current versions; the last line of the table is the sum."""
    rows = costs(current_artifacts(ArtifactsResource().store(), experiment))
    if as_json:
        print(json.dumps([{"stage": row.stage, **asdict(row)} for row in rows], indent=2))
        return
    table = Table(*COLUMNS)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*cells(row))
    table.add_section()
    table.add_row(*cells(total(rows)), style="bold")
    Console().print(table)
