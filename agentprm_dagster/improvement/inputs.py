"""What a policy is improved with."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agentprm_dagster.envs.base import EnvironmentKind, Task
from agentprm_dagster.episodes.records import Episode

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """What every kind of improvement is given, besides settings."""

    policy: Path
    """Checkpoint of the behaviour policy, pi_(i-1)."""
    rollouts: Path
    """Tables of the policy's episodes."""
    read: Mapping[str, Path]
    """Where the assets lie that the settings' `reads` name, a reward model's checkpoint among them."""
    games: Mapping[str, Task]
    """The tasks of the rollouts, by id."""
    environment: EnvironmentKind

    @cached_property
    def episodes(self) -> list[Episode]:
        """The policy's episodes."""
        from agentprm_dagster.episodes.tables import read_episodes  # loads pandas, as below

        return read_episodes(self.rollouts)

    @cached_property
    def targets(self) -> "pd.DataFrame":
        """The table of `mc_value_targets`, where it is read."""
        import pandas as pd

        return pd.read_parquet(self.read["mc_value_targets"] / "targets.parquet")

    def of_games(self, *, held_out: bool) -> list[Episode]:
        """The episodes of games that the targets hold out, which the reward model was not fitted on, or of the
        others.
        """
        games = set(self.targets.loc[self.targets["held_out"], "game"])
        return [episode for episode in self.episodes if (episode.game in games) == held_out]
