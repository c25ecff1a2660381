"""Rejection fine-tuning: the policy imitates what it has won itself, and no PRM is read.

Outcome-filtered behaviour cloning: RFT (Yuan et al. 2023, arXiv 2308.01825), an iteration of STaR (arXiv 2203.14465)
without its rationalisation. Beyond it: the rollouts' branches that were won count too, of which the own turns are
learnt and the inherited ones read.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.settings import FromRollouts
from agentprm_dagster.section import AtOnce, Positive, Weight

if TYPE_CHECKING:
    from agentprm_dagster.launch.job import Job


class Settings(FromRollouts):
    """Supervised fine-tuning on won episodes of the rollouts."""

    kind: Literal["rft"] = "rft"
    per_game: AtOnce = 2
    """Most won episodes of a game, the shortest first, no way twice."""
    batch_episodes: Positive = 8
    weight_decay: Weight = 0.01

    @property
    def compares(self) -> bool:
        """See the base."""
        return False

    @property
    def conversations_per_game(self) -> int:
        """See the base."""
        return self.per_game

    @property
    def conversations_per_step(self) -> int:
        """See the base."""
        return self.batch_episodes


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; goes on from where an earlier attempt has saved.

    Raises:
        TrainingError: no episode was won.
    """
    from agentprm_dagster.config import Sft
    from agentprm_dagster.improvement.stored import Tokens, begin, finish  # loads torch, as below
    from agentprm_dagster.improvement.won_episodes import won_episodes
    from agentprm_dagster.reports.improvement_report import Learnt
    from agentprm_dagster.training.loop import TrainingError
    from agentprm_dagster.training.sft import sft_rows, tokens_in, train_on

    how: Settings = settings.improvement
    won = won_episodes(inputs.episodes, how.per_game)
    if not won:
        raise TrainingError(
            f"improvement.kind: rft learns from won episodes, and none of {len(inputs.episodes)} was won: explore more "
            "games (rollouts.games, rollouts.per_game), or begin with a better pi_0"
        )
    start = begin(inputs, job)
    rows = sft_rows(won, start.chat, settings.dialogue.format)
    same = ("epochs", "optimizer", "learning_rate", "batch_episodes", "weight_decay")
    training = train_on(start.model, rows, Sft(**how.model_dump(include=set(same))), job, start.dtype)
    return finish(
        start,
        inputs,
        settings,
        out,
        [{"loss": loss} for loss in training.losses if loss is not None],
        planned=training.plan.steps,
        learnt=Learnt(len(won), "won episodes", "the policy has won nothing"),
        tokens=Tokens(how.epochs * tokens_in(rows)),
        job=job,
    )
