"""Rejection fine-tuning: the policy imitates what it has won itself, and no PRM is read.

Outcome-filtered behaviour cloning: RFT (Yuan et al. 2023, arXiv 2308.01825), an iteration of STaR (arXiv 2203.14465)
without its rationalisation. Beyond it: the rollouts' branches that were won count too, of which the own turns are
learnt and the inherited ones read.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.imitating import Imitation, imitate
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.won_episodes import won_episodes
from agentprm_dagster.section import AtOnce

if TYPE_CHECKING:
    from agentprm_dagster.launch.job import Job


class Settings(Imitation):
    """Supervised fine-tuning on won episodes of the rollouts."""

    kind: Literal["rft"] = "rft"
    per_game: AtOnce = 2
    """Most won episodes of a game, the shortest first, no way twice."""

    @property
    def conversations_per_game(self) -> int:
        """See the base."""
        return self.per_game


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; goes on from where an earlier attempt has saved.

    Raises:
        TrainingError: no episode was won.
    """
    from agentprm_dagster.reports.improvement_report import Learnt
    from agentprm_dagster.training.loop import TrainingError  # loads torch

    won = won_episodes(inputs.episodes, settings.improvement.per_game)
    if not won:
        raise TrainingError(
            f"improvement.kind: rft learns from won episodes, and none of {len(inputs.episodes)} was won: explore more "
            "games (rollouts.games, rollouts.per_game), or begin with a better pi_0"
        )
    learnt = Learnt(len(won), "won episodes", "the policy has won nothing")
    return imitate(inputs, settings, out, job, won, learnt)
