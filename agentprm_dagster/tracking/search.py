"""Finding runs in MLflow: those that say they are running, and those that tell of artifacts.

Searches go page by page, so that each question is a short one.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agentprm_dagster.home import home
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import AssetPartition
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.tracking.client import Mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run
    from mlflow.store.entities import PagedList

RUNS_AT_ONCE = 200

Found = TypeVar("Found")


class Origin(NamedTuple):
    """Whose a run is, and what it was to make."""

    owner: Owner
    partition: AssetPartition


def running(mlflow: Mlflow) -> list["Run"]:
    """All runs that say they are running, whoever started them."""

    def search(token: str | None, client: "MlflowClient") -> "PagedList[Experiment]":
        return client.search_experiments(page_token=token)

    experiments = [found.experiment_id for found in _pages(mlflow, search)]
    return _search(mlflow, experiments, filter_string="attributes.status = 'RUNNING'")


def origin_of(run: "Run") -> Origin | None:
    """What the tags of a run of ours say; None for a run that others started, or we in another home."""
    tags = run.data.tags
    if tags.get("home", str(home())) != str(home()):
        return None
    try:
        partition = AssetPartition(tags["experiment"], tags["asset"], int(tags["iteration"]))
        return Origin(Owner.from_json(tags["owner"]), partition)
    except (KeyError, ValueError):
        return None


class Known:
    """The runs that MLflow has, deleted ones too, in the experiments of some artifacts."""

    def __init__(self, mlflow: Mlflow, artifacts: Iterable[Artifact]) -> None:
        names = {artifact.manifest.experiment for artifact in artifacts}
        runs, self._deleted = _runs(mlflow, names)
        self._by_id = {run.info.run_id: run for run in runs}
        self._by_digest = {(run.data.tags.get("experiment"), run.data.tags.get("digest")): run for run in runs}

    def run_of(self, artifact: Artifact) -> "Run | None":
        """The run of an artifact under its own experiment's name."""
        made = artifact.manifest
        started = self._by_id.get(made.mlflow_run_id or "")
        if started is not None and started.data.tags.get("experiment") == made.experiment:
            return started
        return self._by_digest.get((made.experiment, made.digest))

    def unwanted(self, artifact: Artifact) -> bool:
        """Whether a person has deleted the experiment."""
        return artifact.manifest.experiment in self._deleted


def _runs(mlflow: Mlflow, names: Iterable[str]) -> tuple[list["Run"], set[str]]:
    """The runs of the experiments of these names, deleted ones too, and the names of those that are deleted."""
    from mlflow.entities import ViewType

    found = [mlflow.ask(partial(_experiment, name=name)) for name in names]
    deleted = {experiment.name for experiment in found if experiment and experiment.lifecycle_stage == "deleted"}
    ids = [experiment.experiment_id for experiment in found if experiment]
    return _search(mlflow, ids, run_view_type=ViewType.ALL), deleted


def _experiment(client: "MlflowClient", name: str) -> "Experiment | None":
    return client.get_experiment_by_name(name)


def _search(mlflow: Mlflow, experiments: list[str], **which: Any) -> list["Run"]:
    """The runs of some experiments; of none, none."""

    def search(token: str | None, client: "MlflowClient") -> "PagedList[Run]":
        return client.search_runs(experiments, max_results=RUNS_AT_ONCE, page_token=token, **which)

    return list(_pages(mlflow, search)) if experiments else []


def _pages(mlflow: Mlflow, search: Callable[[str | None, "MlflowClient"], "PagedList[Found]"]) -> Iterator[Found]:
    """Everything that a search finds, asked for page by page: each may take as long as any question."""
    token: str | None = None
    while token != "":
        page = mlflow.ask(partial(search, token))
        yield from page
        token = page.token or ""
