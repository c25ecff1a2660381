"""Monte-Carlo targets: the paper's Eq. 1 as it stands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.targets.settings import TargetSettings

if TYPE_CHECKING:
    import pandas as pd

READS: tuple[str, ...] = ()
"""The assets that are read besides the rollouts."""
REPLAYS = False
"""Whether the games are played again."""


class Settings(TargetSettings):
    """Monte-Carlo targets (Eq. 1)."""

    kind: Literal["mc"] = "mc"


def compute(
    rollouts: Path,
    settings: TargetSettings,
    read: Mapping[str, Path],
    wording: Wording,
    seed: int,
    games: Sequence[TaskRef] = (),
) -> "pd.DataFrame":
    """The table of `algorithm.targets.mc_value_targets`; `seed` decides which games are held out."""
    from agentprm_dagster.algorithm.targets import mc_value_targets  # loads pandas
    from agentprm_dagster.episodes.tables import iter_episodes

    return mc_value_targets(
        iter_episodes(rollouts),
        gamma=settings.gamma,
        held_out_games=settings.held_out_games,
        seed=seed,
    )
