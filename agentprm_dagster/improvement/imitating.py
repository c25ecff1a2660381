"""What the kinds of improvement share that imitate episodes: SFT on own turns; inherited ones are read alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.settings import FromRollouts
from agentprm_dagster.section import Positive, Weight

if TYPE_CHECKING:
    from agentprm_dagster.launch.job import Job
    from agentprm_dagster.reports.improvement_report import Learnt


class Imitation(FromRollouts):
    """Supervised fine-tuning on episodes; no policy is compared with another."""

    batch_episodes: Positive = 8
    weight_decay: Weight = 0.01

    @property
    def compares(self) -> bool:
        """See the base."""
        return False

    @property
    def conversations_per_step(self) -> int:
        """See the base."""
        return self.batch_episodes


def imitate(
    inputs: Inputs, settings: Any, out: Path, job: "Job", episodes: Sequence[Episode], learnt: "Learnt"
) -> StageReport:
    """Trains pi_(i-1) on the own turns of episodes, writes the policy to `out`, and reports on it.

    Args:
        settings: `improvement`, an `Imitation`, and what its `sections` name.
        learnt: what these episodes are, in the gate's words.
    """
    from agentprm_dagster.config import Sft
    from agentprm_dagster.improvement.stored import Tokens, begin, finish  # loads torch, as below
    from agentprm_dagster.training.sft import sft_rows, tokens_in, train_on

    how: Imitation = settings.improvement
    start = begin(inputs, job)
    rows = sft_rows(episodes, start.chat, settings.dialogue.format)
    same = ("epochs", "optimizer", "learning_rate", "batch_episodes", "weight_decay")
    training = train_on(start.model, rows, Sft(**how.model_dump(include=set(same))), job, start.dtype)
    return finish(
        start,
        inputs,
        settings,
        out,
        [{"loss": loss} for loss in training.losses if loss is not None],
        planned=training.plan.steps,
        learnt=learnt,
        tokens=Tokens(how.epochs * tokens_in(rows)),
        job=job,
    )
