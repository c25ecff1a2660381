"""Online DPO with the last policy as reference (the paper's Eq. 3), in our loop (`improvement.online_dpo`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentprm_dagster.envs.base import explain_in
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.dpo_settings import Settings
from agentprm_dagster.improvement.inputs import Inputs

__all__ = ["Settings", "improve"]

if TYPE_CHECKING:
    from agentprm_dagster.improvement.panel import Watched
    from agentprm_dagster.launch.job import Job


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; goes on from where an earlier attempt has saved."""
    from agentprm_dagster.improvement.online_dpo import improve_policy  # loads torch
    from agentprm_dagster.improvement.rationalisation import rationalise

    how: Settings = settings.improvement
    rationalised = None
    if how.rationalised_weight:
        rationalised = rationalise(inputs.episodes, inputs.targets, explain_in(inputs.environment))
    return improve_policy(
        inputs.policy,
        inputs.read[how.reward],
        # No step may train on what the panel measures on.
        inputs.of_games(held_out=False) if how.panel.every else inputs.episodes,
        inputs.games,
        inputs.environment,
        how,
        out,
        dialogue=settings.dialogue.format,
        # Such a reward model knows values up to what their state adds.
        centred=how.reward == "inverse_prm" or settings.prm.loss == "relative",
        max_kl=settings.gates.max_kl,
        watched=_watched(inputs, settings) if how.panel.every else None,
        rationalised=rationalised,
        job=job,
    )


def _watched(inputs: Inputs, settings: Any) -> "Watched":
    """What the panel measures on."""
    from agentprm_dagster.improvement.panel import Watched

    committee = inputs.read.get("prm_committee")
    return Watched(
        inputs.of_games(held_out=True),
        sorted(committee.glob("member_*")) if committee else (),
        settings.rollouts,
        settings.targets.gamma,
        settings.prm.batch_tokens,
    )
