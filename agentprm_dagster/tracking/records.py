"""What MLflow is told of an attempt, whatever comes of it: a run with tags, parameters and curves."""

import re
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from math import isfinite
from posixpath import normpath
from typing import TYPE_CHECKING

from agentprm_dagster.home import home, presence_folder
from agentprm_dagster.provenance.flat import flat
from agentprm_dagster.provenance.manifest import Recipe
from agentprm_dagster.provenance.owner import Owner, user_name
from agentprm_dagster.tracking.client import Mlflow
from agentprm_dagster.tracking.pages import NOTE, dagster_links
from agentprm_dagster.tracking.parents import PARENT, experiment_id, new_run, parent_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run

PARAMS_AT_ONCE = 25
"""MLflow takes no batch above a megabyte; as many of the longest stay below it in any alphabet."""
LONGEST_NAME = 250
LONGEST_VALUE = 6000
"""Letters of a parameter's name (or a metric's) and of its value; MLflow's own limits."""


def run_name(recipe: Recipe) -> str:
    """`prm[2]`; `initial_policy`."""
    return f"{recipe.asset}[{recipe.iteration}]" if recipe.iteration else recipe.asset


def run_tags(recipe: Recipe, dagster_run_id: str) -> dict[str, str]:
    """What is known of an attempt before the work starts, and who makes it, where."""
    return {
        "experiment": recipe.experiment,
        "asset": recipe.asset,
        "iteration": str(recipe.iteration),
        "dagster_run_id": dagster_run_id,
        "key": recipe.key,
        "owner": Owner.this_process(presence_folder()).to_json(),
        "home": str(home()),
        "mlflow.source.git.commit": recipe.code.git_commit or "",
        "mlflow.source.name": f"agentprm_dagster.assets.{recipe.asset}",
        "mlflow.source.type": "JOB",
        "mlflow.user": user_name(),
        NOTE: dagster_links(recipe, dagster_run_id),
    }


def create_run(client: "MlflowClient", recipe: Recipe, tags: dict[str, str], begun: int | None = None) -> "Run":
    """A new run called `asset[iteration]` under its parent, begun at `begun` (ms since 1970) or now."""
    where = experiment_id(client, recipe.experiment)
    parent = parent_of(client, where, recipe, begun)
    return new_run(client, where, run_name(recipe), {**tags, **({PARENT: parent} if parent else {})}, begun)


def write_params(mlflow: Mlflow, run_id: str, recipe: Recipe) -> None:
    """Writes all settings and seeds as parameters that MLflow takes; TrackerError where it does not."""
    from mlflow.entities import Param

    settings = flat({**recipe.config, "seeds": recipe.seeds})
    params = [Param(fitting_name(name), _fitting_value(value)) for name, value in settings.items()]
    for start in range(0, len(params), PARAMS_AT_ONCE):
        batch = params[start : start + PARAMS_AT_ONCE]
        mlflow.ask(partial(_write_batch, run_id=run_id, params=batch))


def _write_batch(client: "MlflowClient", run_id: str, params: list["Param"]) -> None:
    client.log_batch(run_id, params=params)


def run_metrics(values: Mapping[str, float | None], time: int, step: int) -> list["Metric"]:
    """Numbers at a step and a time (ms since 1970) as metrics that MLflow takes: those that are finite."""
    from mlflow.entities import Metric

    finite = {name: float(value) for name, value in values.items() if value is not None and isfinite(value)}
    return [Metric(fitting_name(name), value, time, step) for name, value in finite.items()]


def fitting_name(name: str) -> str:
    """A name itself where MLflow takes it; else `_` for what it refuses, cut, and marked with the name's own hash."""
    if re.fullmatch(rf"[\w \-:][/\w.\- :]{{0,{LONGEST_NAME - 1}}}", name) and normpath(name) == name:
        return name
    plain = re.sub(r"[^\w.\- :]|^\.", "_", name)[: LONGEST_NAME - 9]
    return f"{plain}_{sha256(name.encode()).hexdigest()[:8]}"


def _fitting_value(value: str) -> str:
    mark = f"... (cut; {len(value)} letters)"
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - len(mark)] + mark
