"""What a person reads in MLflow: the page of an artifact with its pictures, descriptions, and links to Dagster."""

import re
from typing import TYPE_CHECKING

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Recipe
from agentprm_dagster.tracking.uri import dagster_url

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a description, in markdown."""
PAGE = "page.md"
SHOWN = (".md", ".png", ".svg", ".html")
"""What MLflow shows in the browser."""
LARGEST = 5_000_000
"""Bytes of a file that is sent; pictures have a few thousand."""
LINES = 12
LETTERS = 2000
"""How much of a page a description holds."""

_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)\n*")


def send_pages(client: "MlflowClient", run_id: str, artifact: Artifact) -> None:
    """Sends the page of an artifact, and what lies beside it to be seen, to its run."""
    for entry in artifact.manifest.files:
        if "/" not in entry.path and entry.path.endswith(SHOWN) and entry.bytes <= LARGEST:
            client.log_artifact(run_id, str(artifact.path / entry.path))


def summary(artifact: Artifact) -> str:
    """The first lines of an artifact's page, after its name and digest."""
    page = artifact.path / PAGE
    text = _PICTURE.sub("", page.read_text(encoding="utf-8")) if page.exists() else ""
    lines = "\n".join(text.splitlines()[:LINES])[:LETTERS]
    return f"{artifact.version.partition}, digest `{artifact.digest[:16]}`\n\n{lines}".rstrip()


def dagster_links(recipe: Recipe, dagster_run_id: str) -> str:
    """The Dagster run and the asset; as links where it is known where Dagster's UI listens."""
    asset = f"{recipe.experiment}/{recipe.asset}"
    base = dagster_url()
    if not base:
        return f"Dagster run `{dagster_run_id}`, asset `{asset}`"
    partition = f"?view=partitions&partition={recipe.iteration}" if recipe.iteration else ""
    return f"[Dagster run]({base}/runs/{dagster_run_id}), [asset {asset}]({base}/assets/{asset}{partition})"
