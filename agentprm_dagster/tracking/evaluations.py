"""How good policies are, as MLflow ranks and draws it: `success/<split>/<way>` at the policy's iteration.

A way is `greedy`, or `best_of_4`: answers chosen by the experiment's process reward model. Each number is linked to the
LoggedModel of its policy and to the games that were played, so that `mlflow.search_logged_models` ranks policies, also
on one data set alone; `n/<split>/<way>` says how many games that were.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.parquet as pq

from agentprm_dagster.episodes.tables import EPISODES
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.reports.evaluation import EVALUATION, folder_name
from agentprm_dagster.tracking.models import policy_models
from agentprm_dagster.tracking.parents import top_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

DIGITS = 36
"""How many of a digest MLflow keeps."""
_OWN_REWARDS = ("prm", "inverse_prm")


class Games(NamedTuple):
    """The games of a split, as an MLflow data set."""

    name: str
    digest: str
    """Of what the games are and what they say at their start; equal where the same ones were played."""
    n: int
    uri: str
    """Where the episodes of an evaluation lie."""


def rows(artifact: Artifact) -> list[dict[str, Any]]:
    """The rows of an artifact that are of policies of the loop; none for what is no evaluation."""
    path = artifact.path / EVALUATION
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    return [row for row in found if row["iteration"] is not None]


def way(row: Mapping[str, Any]) -> str:
    """How answers were chosen: `greedy`, `best_of_4`, `best_of_4_by_log_ratio`, `best_of_4_2_ahead_learned`."""
    if not row["ranked_by"]:
        return "greedy"
    judged = "" if row["ranked_by"] in _OWN_REWARDS else f"_by_{row['ranked_by']}"
    ahead = f"_{row['horizon']}_ahead_{row['world']}" if row["world"] else ""
    return f"best_of_{row['best_of']}{judged}{ahead}"


def games_of(artifact: Artifact, row: Mapping[str, Any]) -> Games:
    """The games that a row is about."""
    heads = pq.read_table(artifact.path / folder_name(row) / EPISODES, columns=["game", "first_observation"])
    played = sorted(zip(*(column.to_pylist() for column in heads.columns), strict=True))
    digest = sha256(json.dumps(played).encode()).hexdigest()[:DIGITS]
    return Games(row["split"], digest, len(played), f"{artifact.uri}/{folder_name(row)}")


def tell_evaluation(client: "MlflowClient", run_id: str, artifact: Artifact, ended: int) -> None:
    """Writes the numbers of an evaluation to its run, to the models judged, and to the run of its experiment.

    Args:
        ended: when it was made, in ms since 1970; the time of every number.
    """
    found = rows(artifact)
    if not found:
        return
    from mlflow.entities import LoggedModelInput, Metric

    run = client.get_run(run_id)
    played = {row["split"]: games_of(artifact, row) for row in found}
    models = policy_models(client, run.info.experiment_id, artifact)
    known = {each.model_id for each in (run.inputs.model_inputs if run.inputs else ())}
    read = [LoggedModelInput(model_id) for model_id in models.values() if model_id not in known]
    client.log_inputs(run_id, [_as_input(games) for games in played.values()], read or None)
    metrics = list(_metrics(found, played, models, ended))
    client.log_batch(run_id, metrics=metrics)
    if top := top_of(client, run_id):
        drawn = [Metric(each.key, each.value, ended, each.step) for each in metrics if each.key.startswith("success/")]
        client.log_batch(top, metrics=drawn)


def _metrics(
    found: Iterable[Mapping[str, Any]], played: Mapping[str, Games], models: Mapping[int, str], ended: int
) -> Iterator["Metric"]:
    from mlflow.entities import Metric

    for row in found:
        games, model_id = played[row["split"]], models.get(row["iteration"])
        linked = (model_id, games.name, games.digest) if model_id else ()
        for name, value in (("success", row["success_rate"]), ("n", row["n"])):
            yield Metric(f"{name}/{row['split']}/{way(row)}", float(value), ended, row["iteration"], *linked)


def _as_input(games: Games) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        games.name, games.digest, "local", json.dumps({"uri": games.uri}), profile=json.dumps({"num_rows": games.n})
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "evaluation")])
