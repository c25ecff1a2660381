"""Process reward shaping (section 4 of the paper): Monte-Carlo targets blended with the demonstrator's advantage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.section import HeadTraining
from agentprm_dagster.targets.mc import compute as monte_carlo
from agentprm_dagster.targets.settings import TargetSettings

if TYPE_CHECKING:
    import pandas as pd

READS = ("reference_value",)
"""The assets that are read besides the rollouts: V_mu, what states are worth to the demonstrator."""
REPLAYS = False
"""Whether the games are played again."""


class Settings(TargetSettings):
    """Process reward shaping."""

    kind: Literal["shaped"] = "shaped"
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Weight of the demonstrator's advantage in a target, beside 1 - alpha for the return of the rollouts."""
    value: HeadTraining = HeadTraining()
    """How V_mu is trained."""

    @property
    def of_returns(self) -> bool:
        """They are not: an advantage is no return."""
        return False

    def check(self, experiment: Any) -> None:
        """See the base."""
        if experiment.dialogue.format != "append":
            raise ValueError("targets.kind: shaped reads values where states end: dialogue.format: append")


def compute(
    rollouts: Path,
    settings: Settings,
    read: Mapping[str, Path],
    wording: Wording,
    seed: int,
    games: Sequence[TaskRef] = (),
) -> "pd.DataFrame":
    """The Monte-Carlo table with `advantage` in [-1, 1], and as `target` the blend in [0, 1]."""
    from agentprm_dagster.algorithm.shaping import shaped_targets
    from agentprm_dagster.episodes.tables import read_episodes
    from agentprm_dagster.training.reference_value import reference_advantages  # loads torch

    targets = monte_carlo(rollouts, settings, read, wording, seed)
    gained = reference_advantages(
        read["reference_value"],
        read_episodes(rollouts),
        targets,
        wording,
        gamma=settings.gamma,
        batch_tokens=settings.value.batch_tokens,
    )
    return shaped_targets(targets, gained, alpha=settings.alpha)
