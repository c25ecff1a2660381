"""TD(lambda) targets: lambda-returns over the rollout set (`algorithm.td_lambda`)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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

BATCH_TOKENS = 8192
"""Padded tokens that are read together."""


class Settings(TargetSettings):
    """TD(lambda)."""

    kind: Literal["td_lambda"] = "td_lambda"
    lam: Probability = 0.9
    """Lambda: 1 is Eq. 1, 0 looks one turn ahead."""
    values: Literal["visits", "prm"] = "visits"
    """What V(s') is: the mean return of all visits of a state, or what the last iteration's PRM says at the end of the
    environment's reply. The first iteration, which has no PRM yet, takes visits."""

    @property
    def reads_last(self) -> tuple[str, ...]:
        """See the base."""
        return ("prm",) if self.values == "prm" else ()

    def check(self, experiment: Any) -> None:
        """See the base."""
        prm = experiment.prm
        reads = experiment.dialogue.format == "append" and prm.reply_weight > 0 and prm.loss == "absolute"
        if self.values == "prm" and not (reads and experiment.improvement.reward == "prm"):
            raise ValueError(
                "targets.values: prm reads chances of winning behind replies: improvement.reward: prm, prm.loss: "
                "absolute, prm.reply_weight above 0 and dialogue.format: append"
            )


def compute(
    rollouts: Path,
    settings: Settings,
    read: Mapping[str, Path],
    wording: Wording,
    seed: int,
    games: Sequence[TaskRef] = (),
) -> "pd.DataFrame":
    """The Monte-Carlo table with `behind`, V of the state behind each decision; `target` is the mean lambda-return."""
    from agentprm_dagster.algorithm.targets import mc_value_targets  # loads pandas
    from agentprm_dagster.algorithm.td_lambda import td_targets, visited_behind
    from agentprm_dagster.episodes.tables import iter_episodes

    branches: dict[str, int] = {}

    def noted() -> Iterator[Episode]:
        for episode in iter_episodes(rollouts):
            if episode.parent is not None:
                branches[episode.episode_id] = episode.start
            yield episode

    targets = mc_value_targets(noted(), gamma=settings.gamma, held_out_games=settings.held_out_games, seed=seed)
    if (prm := read.get("last_prm")) is None:
        behind = visited_behind(targets, branches)
    else:
        from agentprm_dagster.episodes.tables import read_episodes
        from agentprm_dagster.training.reference_value import values_behind  # loads torch

        behind = values_behind(prm, read_episodes(rollouts), targets, wording, batch_tokens=BATCH_TOKENS)
    return td_targets(targets, behind, gamma=settings.gamma, lam=settings.lam)
