"""A clipped policy gradient with group-relative advantages on stored rollouts (`improvement.policy_gradient`): no PRM.

GRPO (arXiv 2402.03300) with the groups of GiGPO (arXiv 2505.10978), off-policy within the clip: it makes several passes
over the rollouts of an iteration, where those algorithms draw anew after every few steps.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.settings import FromRollouts
from agentprm_dagster.section import Positive, Weight

if TYPE_CHECKING:
    from agentprm_dagster.launch.job import Job


class Settings(FromRollouts):
    """Group-relative policy gradient."""

    kind: Literal["grpo"] = "grpo"
    omega: Weight = 1.0
    """Weight of an answer's advantage in its state (A^S) beside its episode's (A^E)."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far a token's probability may go from pi_(i-1)'s, as a ratio, before nothing is gained by it."""
    kl_weight: Weight = 0.04
    """Weight of the KL to pi_(i-1) a token (k3)."""
    normalise: Literal["std", "none"] = "std"
    """Whether advantages are divided by their group's standard deviation."""
    batch_episodes: Positive = 24
    """Whole episodes of a step, each with all answers along it; where turns restate the history, states."""

    @property
    def sections(self) -> tuple[str, ...]:
        """See the base; returns are discounted as a PRM's targets are."""
        return (*super().sections, "targets.gamma")

    @property
    def conversations_per_step(self) -> int:
        """See the base."""
        return self.batch_episodes


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; goes on from where an earlier attempt has saved.

    Raises:
        TrainingError: no two answers in one state, and no two episodes of one game, had different returns.
    """
    from agentprm_dagster.improvement.grouped_answers import answer_advantages, answers_by_state
    from agentprm_dagster.improvement.policy_gradient import examples, policy_gradient_work
    from agentprm_dagster.improvement.stored import Tokens, begin, finish  # loads torch, as below
    from agentprm_dagster.improvement.stored_training import tokens_in, train_on_examples
    from agentprm_dagster.reports.improvement_report import Learnt
    from agentprm_dagster.training.loop import TrainingError

    how: Settings = settings.improvement
    episodes = inputs.episodes
    advantages = answer_advantages(episodes, gamma=settings.targets.gamma, omega=how.omega, normalise=how.normalise)
    along = answers_by_state(episodes, advantages)
    if not along:
        raise TrainingError(
            f"improvement.kind: grpo compares returns within groups, and in none of {len(episodes)} episodes' groups "
            "they differ: try several actions in a state (rollouts.branch_states, rollouts.branch_actions), or play "
            "more of each game (rollouts.per_game)"
        )
    start = begin(inputs, job)
    read = examples(start, episodes, along, settings.dialogue.format, job.compute.micro_batch_tokens)
    work = (policy_gradient_work, how.clip, how.kl_weight)
    done = train_on_examples(start, read, how, how.batch_episodes, job, *work)
    tokens = tokens_in(read)
    return finish(
        start,
        inputs,
        settings,
        out,
        done.history,
        planned=done.planned,
        learnt=Learnt(sum(len(example.advantages) for example in read), "answers with an advantage", "returns agree"),
        tokens=Tokens(how.epochs * tokens, besides=tokens),
        job=job,
    )
