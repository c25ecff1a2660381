"""A committed artifact as Dagster shows it: numbers, a page, links, and the verdict of every gate."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import PurePosixPath

import dagster as dg

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.costs import costs
from agentprm_dagster.provenance.lineage import LineageGraph
from agentprm_dagster.provenance.manifest import NOT_FINITE
from agentprm_dagster.stages.made_from import cost_table, lineage_page, made_from
from agentprm_dagster.stages.page import on_sight, tables, whole_page


def gates(asset: str, *names: str) -> list[dg.AssetCheckSpec]:
    """The gates of an asset as checks that stop what is downstream, unless they only warn."""
    return [dg.AssetCheckSpec(name, asset=asset, blocking=True) for name in names]


def materialization(
    artifact: Artifact, mlflow_url: str | None, known: Sequence[Artifact], *, made_before: bool
) -> dg.MaterializeResult:
    """The event of an artifact, whether it was made now or before; its digest is the data version.

    `known` are it and all that it was made from. What is to be seen first stands first.
    """
    made = artifact.manifest
    lineage = LineageGraph(known).tree(artifact.version, "upstream")
    links = {"mlflow": dg.MetadataValue.url(mlflow_url)} if mlflow_url else {}
    return dg.MaterializeResult(
        metadata={
            **on_sight(artifact.path),
            "page": dg.MetadataValue.md(whole_page(artifact.path)),
            "lineage": dg.MetadataValue.md(lineage_page(lineage)),
            "made_from": dg.MetadataValue.md(made_from(artifact)),
            **tables(artifact.path),
            "cost": cost_table(costs(known)),
            "path": dg.MetadataValue.path(artifact.uri),
            **links,
            **_table(artifact),
            "found": "made before" if made_before else "made by this run",
            "made": dg.MetadataValue.timestamp(datetime.fromisoformat(made.started)),
            "seconds": made.seconds,
            "reproducible": made.reproducible or "not recorded",
            **{name: NOT_FINITE if value is None else float(value) for name, value in made.metrics.items()},
        },
        check_results=list(_verdicts(artifact)),
        data_version=dg.DataVersion(artifact.digest),
    )


def _table(artifact: Artifact) -> dict[str, dg.MetadataValue]:
    """The columns of the artifact's tables and how many rows they have; where it has several kinds, of the first."""
    paths = [entry.path for entry in artifact.manifest.files if entry.rows is not None]
    if not paths:
        return {}
    import pyarrow.parquet as pq

    kind = PurePosixPath(paths[0]).name
    rows = sum(entry.rows or 0 for entry in artifact.manifest.files if PurePosixPath(entry.path).name == kind)
    columns = [dg.TableColumn(field.name, str(field.type)) for field in pq.read_schema(artifact.path / paths[0])]
    return {
        "dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns)),
        "dagster/row_count": dg.MetadataValue.int(rows),
    }


def in_words(value: float | None) -> str:
    """A metric to be read: four digits, or that it is no number."""
    return NOT_FINITE if value is None else f"{value:.4g}"


def _verdicts(artifact: Artifact) -> Iterable[dg.AssetCheckResult]:
    for gate in artifact.manifest.gates:
        metadata = {} if gate.value is None else {"value": gate.value}
        yield dg.AssetCheckResult(
            check_name=gate.name,
            passed=gate.passed,
            severity=dg.AssetCheckSeverity.WARN if gate.warns else dg.AssetCheckSeverity.ERROR,
            description=gate.message,
            metadata=metadata,
        )
