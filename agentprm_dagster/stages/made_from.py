"""What made an artifact, as Dagster shows it: links to what was read, a picture of the way, what it took."""

from collections.abc import Sequence

import dagster as dg

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.costs import Cost, by_iteration
from agentprm_dagster.provenance.headline import headline
from agentprm_dagster.provenance.lineage import Lineage
from agentprm_dagster.provenance.manifest import Version
from agentprm_dagster.provenance.picture import svg
from agentprm_dagster.reports.chart.small import as_url


def link(version: Version) -> str:
    """A version as a link, in Markdown, to its asset's page in Dagster, and there to its partition."""
    name = f"{version.asset}[{version.iteration}]" if version.iteration else version.asset
    partition = f"?view=partitions&partition={version.iteration}" if version.iteration else ""
    return f"[{name}](/assets/{version.experiment}/{version.asset}{partition})"


def made_from(artifact: Artifact) -> str:
    """What it read: as what, which version."""
    rows = [f"| {read.role} | {link(read.version)} | `{read.digest[:8]}` |" for read in artifact.manifest.inputs]
    return "\n".join(["| read as | artifact | digest |", "|---|---|---|", *rows])


def lineage_page(lineage: Lineage) -> str:
    """A picture of all that it was made from, and a line with a link for each, latest first."""
    commit = lineage.commit()
    rows = []
    for version, node in lineage.nodes().items():
        numbers = ", ".join(
            f"{name} {value:,.4g}" for name, value in headline(node.made.metrics if node.made else {}).items()
        )
        by = (node.made.code.in_words if node.made else None) or "not known"
        cells = [link(version), f"`{version.digest[:16]}`", numbers, *([] if commit else [by])]
        rows.append(f"| {' | '.join(cells)} |")
    head = ["artifact", "digest", "numbers", *([] if commit else ["commit"])]
    said = f"All by commit `{commit}`.\n\n" if commit else ""
    table = "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows])
    return f"{said}![what made it](<{as_url(svg(lineage))}>)\n\n{table}\n"


def cost_table(ledger: Sequence[Cost]) -> dg.TableMetadataValue:
    """Seconds of every stage over the iterations, and what models read, played and drew."""
    head, rows = by_iteration(ledger)
    records = [dg.TableRecord(dict(zip(head, row, strict=True))) for row in rows]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name, "string") for name in head]))
