"""A committed artifact as Dagster shows it: numbers, a page, links, and the verdict of every gate."""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath

import dagster as dg

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.costs import Cost, markdown
from agentprm_dagster.provenance.manifest import NOT_FINITE

PAGE = "page.md"
"""The file of every artifact that a person reads first."""

_PICTURE = re.compile(r"\]\(([\w.-]+\.png)\)")


def gates(asset: str, *names: str) -> list[dg.AssetCheckSpec]:
    """The gates of an asset as checks that stop what is downstream."""
    return [dg.AssetCheckSpec(name, asset=asset, blocking=True) for name in names]


def materialization(
    artifact: Artifact, mlflow_url: str | None, ledger: Sequence[Cost], *, made_before: bool
) -> dg.MaterializeResult:
    """The event of an artifact, whether it was made now or before; its digest is the data version.

    `ledger` is what it and all that it was made from took.
    """
    made = artifact.manifest
    links = {"mlflow": dg.MetadataValue.url(mlflow_url)} if mlflow_url else {}
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.md(_page(artifact.path)),
            "made_from": dg.MetadataValue.md(_made_from(artifact)),
            "cost": dg.MetadataValue.md(markdown(ledger)),
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


def _page(folder: Path) -> str:
    """The page, its pictures within it: Dagster shows markdown and knows nothing of the files beside it."""
    text = (folder / PAGE).read_text(encoding="utf-8")
    return _PICTURE.sub(lambda match: f"](data:image/png;base64,{_base64(folder / match[1])})", text)


def _base64(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()


def _made_from(artifact: Artifact) -> str:
    rows = [
        f"| {made.role} | {made.asset} | {made.iteration} | `{made.digest[:16]}` |" for made in artifact.manifest.inputs
    ]
    return "\n".join(["| read as | asset | iteration | digest |", "|---|---|---|---|", *rows])


def _verdicts(artifact: Artifact) -> Iterable[dg.AssetCheckResult]:
    for gate in artifact.manifest.gates:
        metadata = {} if gate.value is None else {"value": gate.value}
        yield dg.AssetCheckResult(check_name=gate.name, passed=gate.passed, description=gate.message, metadata=metadata)
