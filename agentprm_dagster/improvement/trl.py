"""Online DPO by TRL's own OnlineDPOTrainer, the baseline of `dpo` (`improvement.trl_online_dpo`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.settings import AgainstReward

if TYPE_CHECKING:
    from agentprm_dagster.launch.job import Job


class Settings(AgainstReward):
    """TRL's trainer: two answers a state, of which the better wins, ties included; the KL is only watched."""

    kind: Literal["trl"] = "trl"
    rank_by: Literal["answer"] = "answer"


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; an attempt that was killed is begun anew."""
    from agentprm_dagster.improvement.trl_online_dpo import improve_with_trl  # loads torch, warns of being experimental

    how: Settings = settings.improvement
    return improve_with_trl(
        inputs.policy,
        inputs.read[how.reward],
        inputs.episodes,
        inputs.environment.wording,
        how,
        out,
        dialogue=settings.dialogue.format,
        max_kl=settings.gates.max_kl,
        job=job,
    )
