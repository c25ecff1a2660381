"""Offline DPO on whole episodes of one game, won against lost (`improvement.trajectory_dpo`): no PRM is read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.settings import FromRollouts
from agentprm_dagster.section import AtOnce, Positive, PositiveFloat

if TYPE_CHECKING:
    from agentprm_dagster.launch.job import Job


class Settings(FromRollouts):
    """Trajectory-level DPO with the last policy as reference."""

    kind: Literal["outcome_dpo"] = "outcome_dpo"
    per_game: AtOnce = 4
    """Most pairs of a game, drawn at random among those whose rewards differ."""
    beta: PositiveFloat = 0.1
    """Weight of the episodes' log-ratios; they are sums over many answers, so that it is lower than a turn's."""
    batch_pairs: Positive = 16

    @property
    def conversations_per_game(self) -> int:
        """See the base."""
        return 2 * self.per_game

    @property
    def conversations_per_step(self) -> int:
        """See the base."""
        return 2 * self.batch_pairs


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; goes on from where an earlier attempt has saved.

    Raises:
        TrainingError: in no game two episodes had different outcomes.
    """
    from agentprm_dagster.improvement.episode_pairs import episode_pairs
    from agentprm_dagster.improvement.stored import Tokens, begin, finish  # loads torch, as below
    from agentprm_dagster.improvement.stored_training import tokens_in, train_on_examples
    from agentprm_dagster.improvement.trajectory_dpo import examples, trajectory_work
    from agentprm_dagster.reports.improvement_report import Learnt
    from agentprm_dagster.training.loop import TrainingError

    how: Settings = settings.improvement
    pairs = episode_pairs(inputs.episodes, how.per_game, job.seed)
    if not pairs:
        raise TrainingError(
            f"improvement.kind: outcome_dpo compares a won and a lost episode of one game, and among "
            f"{len(inputs.episodes)} there are no two such: play more of each game (rollouts.per_game, "
            "rollouts.branch_states)"
        )
    start = begin(inputs, job)
    read = examples(start, pairs, settings.dialogue.format, job.compute.micro_batch_tokens)
    done = train_on_examples(start, read, how, how.batch_pairs, job, trajectory_work, how.beta)
    tokens = tokens_in(read)
    return finish(
        start,
        inputs,
        settings,
        out,
        done.history,
        planned=done.planned,
        learnt=Learnt(len(pairs), "pairs of episodes", "no game was both won and lost"),
        tokens=Tokens(how.epochs * tokens, besides=tokens),
        job=job,
    )
