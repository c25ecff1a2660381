"""What the tests of tracking share: a recipe, an artifact made under a tracker, and what MLflow says of it."""

from collections.abc import Callable, Mapping
from typing import Any

from agentprm_dagster.resources.tracker import TrackedRun, TrackerResource
from mlflow import MlflowClient
from mlflow.entities import Run

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Code, Input, Recipe
from agentprm_dagster.provenance.store import ArtifactStore

CODE = Code("0.1.0", "0" * 64, "deadbeef", False)
CHECKPOINT = {"model/config.json": b"{}", "model/model.safetensors": b"weights", "page.md": b"hello"}
SETTINGS = {"prm": {"epochs": 3, "init": "policy"}, "gates.max_kl": 20.0}
METRICS = {"loss": 0.5}


def recipe_of(
    experiment: str,
    asset: str = "prm",
    iteration: int = 2,
    inputs: tuple[Input, ...] = (),
    config: Mapping[str, Any] = SETTINGS,
) -> Recipe:
    """A recipe that nothing was made from yet."""
    return Recipe(experiment, asset, iteration, inputs, dict(config), CODE, {"stage": 7})


def make(
    tracker: TrackerResource,
    store: ArtifactStore,
    recipe: Recipe,
    files: Mapping[str, bytes] = CHECKPOINT,
    during: Callable[[TrackedRun], object] = lambda run: None,
) -> Artifact:
    """Makes it as a stage does; `during` is the stage's work."""
    with store.draft(recipe) as draft, tracker.run(recipe, "dagster-run") as run:
        for name, content in files.items():
            path = draft.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        during(run)
        run.metrics({"loss": 1.0}, step=1)
        artifact = draft.commit(metrics=METRICS, dagster_run_id="dagster-run", mlflow_run_id=run.id)
        run.committed(artifact)
    return artifact


def runs_of(client: MlflowClient, experiment: str) -> list[Run]:
    """All runs of an experiment's assets, the last one first; what a curve gave is left out of their metrics."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    for run in runs:
        for name in [name for name in run.data.metrics if "/" in name]:
            del run.data.metrics[name]
    return [run for run in runs if "asset" in run.data.tags or "level" not in run.data.tags]
