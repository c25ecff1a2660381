"""The score rows of a foreign evaluation, validated: what `reports.evaluation.evaluation_row` writes."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.record import problems, read_text
from agentprm_dagster.provenance.manifest import Name
from agentprm_dagster.reports.evaluation import EVALUATION
from agentprm_dagster.section import MOST_AT_ONCE, Actions, NotNegative, Positive, Probability


class Success(BaseModel):
    """See `reports.evaluation.success`."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    n: Positive
    successes: NotNegative
    success_rate: Probability
    ci_low: Probability
    ci_high: Probability
    mean_reward: Probability
    mean_actions: Annotated[float, Field(ge=0, le=10_000)]
    mean_actions_won: Annotated[float, Field(ge=0, le=10_000)] | None


class Row(Success):
    """One evaluation. What says who played ends up in a folder's name, and is plain."""

    experiment: Name
    ranked_by: Name | None
    policy: Annotated[str, Field(pattern=r"^pi_(0|[1-9][0-9]{0,3})$")]
    iteration: Annotated[int, Field(ge=0, le=1000)]
    split: Name
    max_steps: Actions
    best_of: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)]
    world: Literal["learned", "oracle"] | None
    horizon: NotNegative
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    tokens_per_decision: Annotated[float, Field(ge=0)]
    by_task_type: Annotated[dict[Name, Success], Field(max_length=1000)]


def read_rows(evaluation: Path) -> list[dict[str, Any]]:
    """The score rows of an evaluation's folder as plain values; BundleError where they are none."""
    try:
        rows = TypeAdapter(list[Row]).validate_json(read_text(evaluation / EVALUATION))
    except ValidationError as error:
        raise BundleError(f"{EVALUATION}: expected score rows, but {problems(error)}") from error
    return [row.model_dump() for row in rows]
