"""A lineage as OpenLineage run events, the open standard that catalogues such as Marquez or DataHub listen to.

Every artifact is the output of one run of the job that made it, and what it was made from are that run's inputs. All is
said from manifests alone, so events can be sent long after the fact, and sent twice they are the same: run ids follow
from digests. The standard is at https://openlineage.io/spec/2-0-2/OpenLineage.json.
"""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.lineage import Lineage
from agentprm_dagster.provenance.manifest import Manifest, Version

NAMESPACE = "agentprm"
"""Of all jobs and data sets."""

Json = dict[str, Any]

_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs"
_FACETS = "https://openlineage.io/spec/facets"


def events(lineage: Lineage) -> Iterator[Json]:
    """A START and a COMPLETE event for every artifact of a lineage that can be read, in the order they were made."""
    known = [node.artifact for node in lineage.nodes().values() if node.artifact]
    for artifact in sorted(known, key=lambda each: each.manifest.started):
        begun = datetime.fromisoformat(artifact.manifest.started)
        yield _event("START", begun, artifact)
        yield _event("COMPLETE", begun + timedelta(seconds=artifact.manifest.seconds), artifact)


def run_id(version: Version) -> str:
    """The UUID of the run that made a version."""
    return str(uuid5(NAMESPACE_URL, f"{NAMESPACE}:{version.place}:{version.digest}"))


def _event(kind: str, time: datetime, artifact: Artifact) -> Json:
    made = artifact.manifest
    producer = f"urn:agentprm-dagster:{made.code.version}"

    def facet(schema: str, **values: Any) -> Json:
        return {"_producer": producer, "_schemaURL": schema, **values}

    def dataset(version: Version) -> Json:
        schema = f"{_FACETS}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
        facets = {"version": facet(schema, datasetVersion=version.digest)}
        return {"namespace": NAMESPACE, "name": version.partition.place, "facets": facets}

    output = dataset(made.version)
    schema = f"{_FACETS}/1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet"
    output["facets"]["dataSource"] = facet(schema, name=made.experiment, uri=_uri(artifact))
    schema = f"{_FACETS}/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet"
    output["outputFacets"] = {"outputStatistics": facet(schema, **_counts(made))}
    engine = f"{_FACETS}/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet"
    job = f"{_FACETS}/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
    return {
        "eventType": kind,
        "eventTime": time.isoformat(),
        "producer": producer,
        "schemaURL": f"{_SPEC}/RunEvent",
        "run": {
            "runId": run_id(made.version),
            "facets": {
                "processing_engine": facet(engine, name="Dagster", version=made.environment.get("dagster", "unknown")),
                "agentprm_manifest": facet(f"{_SPEC}/RunFacet", **_recipe(made)),
            },
        },
        "job": {
            "namespace": NAMESPACE,
            "name": f"{made.experiment}.{made.asset}",
            "facets": {"jobType": facet(job, processingType="BATCH", integration="DAGSTER", jobType="ASSET")},
        },
        "inputs": [dataset(version) for version in dict.fromkeys(read.version for read in made.inputs)],
        "outputs": [output],
    }


def _uri(artifact: Artifact) -> str:
    return artifact.path.as_uri() if artifact.uri == str(artifact.path) else artifact.uri


def _counts(made: Manifest) -> Json:
    """Bytes and files; rows where there are tables."""
    rows = [entry.rows for entry in made.files if entry.rows is not None]
    counted = {"size": sum(entry.bytes for entry in made.files), "fileCount": len(made.files)}
    return {**({"rowCount": sum(rows)} if rows else {}), **counted}


def _recipe(made: Manifest) -> Json:
    """What the standard has no word for."""
    return {
        "iteration": made.iteration,
        "roles": {read.role: read.digest for read in made.inputs},
        "code": asdict(made.code),
        "settings": made.config,
        "seeds": made.seeds,
        "environment": made.environment,
        "metrics": made.metrics,
        "reproducible": made.reproducible,
        "dagster_run_id": made.dagster_run_id,
        "mlflow_run_id": made.mlflow_run_id,
    }
