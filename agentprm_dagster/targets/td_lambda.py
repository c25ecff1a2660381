"""TD(lambda) targets: lambda-returns over the rollout set (`algorithm.td_lambda`)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.section import Probability
from agentprm_dagster.targets.settings import TargetSettings

if TYPE_CHECKING:
    import pandas as pd

READS: tuple[str, ...] = ()
"""The assets that are read besides the rollouts."""
REPLAYS = False
"""Whether the games are played again."""


class Settings(TargetSettings):
    """TD(lambda)."""

    kind: Literal["td_lambda"] = "td_lambda"
    lam: Probability = 0.9
    """Lambda: 1 is Eq. 1, 0 looks one turn ahead."""


def compute(
    rollouts: Path,
    settings: Settings,
    read: Mapping[str, Path],
    wording: Wording,
    seed: int,
    games: Sequence[TaskRef] = (),
) -> "pd.DataFrame":
    """The Monte-Carlo table with `value`, V of each state, and `target`, the mean lambda-return."""
    from agentprm_dagster.algorithm.targets import mc_value_targets  # loads pandas
    from agentprm_dagster.algorithm.td_lambda import td_targets
    from agentprm_dagster.episodes.tables import iter_episodes

    branches: dict[str, int] = {}

    def noted() -> Iterator[Episode]:
        for episode in iter_episodes(rollouts):
            if episode.parent is not None:
                branches[episode.episode_id] = episode.start
            yield episode

    targets = mc_value_targets(noted(), gamma=settings.gamma, held_out_games=settings.held_out_games, seed=seed)
    return td_targets(targets, branches, gamma=settings.gamma, lam=settings.lam)
