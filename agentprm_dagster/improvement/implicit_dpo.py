"""Online DPO against an implicit reward: what a policy prefers that has learnt from outcomes, and no PRM.

First pi_(i-1) is trained by DPO on won and lost episodes (`improvement.outcome_dpo`). What it says of an answer beside
pi_(i-1), beta (log pi_phi - log pi_(i-1)), is the answer's reward in Online DPO (`improvement.online_dpo`). That begins
at pi_(i-1): an iteration of iStar (arXiv 2509.19199), which trains both by turns.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentprm_dagster.envs.base import explain_in
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement import outcome_dpo
from agentprm_dagster.improvement.dpo_settings import OnlineDpo
from agentprm_dagster.improvement.inputs import Inputs

if TYPE_CHECKING:
    from agentprm_dagster.launch.job import Job

REWARD = "implicit_reward"
"""Where the policy lies that says what answers are worth, beside the improved one."""


class Settings(OnlineDpo):
    """Those of Online DPO, and of the policy that ranks its answers."""

    kind: Literal["implicit_dpo"] = "implicit_dpo"
    reward: None = None  # type: ignore[assignment]  # it is trained here, and no asset
    rank_by: Literal["answer"] = "answer"
    implicit: outcome_dpo.Settings = outcome_dpo.Settings()

    @property
    def reads(self) -> tuple[str, ...]:
        """See the base."""
        return ("mc_value_targets",) if self.rationalised_weight else ()

    def check(self, experiment: Any) -> None:
        """See the base."""
        super().check(experiment)
        if self.panel.every:
            raise ValueError("improvement.panel.every: a panel watches a reward model, of which there is none: set 0")


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; goes on from where an earlier attempt has saved.

    Raises:
        TrainingError: in no game two episodes had different outcomes.
    """
    from agentprm_dagster.improvement.judging import ImplicitReward  # loads torch, as below
    from agentprm_dagster.improvement.online_dpo import improve_policy
    from agentprm_dagster.improvement.rationalisation import rationalise
    from agentprm_dagster.training.saving import save_trained

    how: Settings = settings.improvement
    learnt = outcome_dpo.prefer_won(inputs, how.implicit, settings.dialogue.format, job.part(REWARD))
    start, folder = learnt.start, out / REWARD
    folder.mkdir(exist_ok=True)  # of several processes one is first
    save_trained(start.model, start.chat.tokenizer, folder, start.dtype)
    rationalised = None
    if how.rationalised_weight:
        rationalised = rationalise(inputs.episodes, inputs.targets, explain_in(inputs.environment))
    report = improve_policy(
        inputs.policy,
        ImplicitReward(folder, how.implicit.beta),
        inputs.episodes,
        inputs.games,
        inputs.environment,
        how,
        out,
        dialogue=settings.dialogue.format,
        centred=True,
        max_kl=settings.gates.max_kl,
        rationalised=rationalised,
        job=job,
    )
    trained = how.implicit.epochs * learnt.tokens
    last = learnt.done.history[-1] if learnt.done.history else {}
    added = {f"{REWARD}_{name}": last[name] for name in ("loss", "pair_accuracy", "margin") if name in last}
    added |= {
        f"{REWARD}_pairs": float(learnt.pairs),
        "tokens": report.metrics["tokens"] + trained + learnt.tokens,
        "trained_tokens": report.metrics["trained_tokens"] + trained,
    }
    return replace(report, metrics={**report.metrics, **added})
