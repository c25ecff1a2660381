"""Offline DPO on whole episodes of one game, won against lost (`improvement.trajectory_dpo`): no PRM is read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.settings import FromRollouts
from agentprm_dagster.section import AtOnce, Positive, PositiveFloat

if TYPE_CHECKING:
    from agentprm_dagster.episodes.dialogue import Format
    from agentprm_dagster.improvement.stored import Start
    from agentprm_dagster.improvement.stored_training import Done
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


class Preferring(NamedTuple):
    """A policy that was trained to prefer won episodes."""

    start: "Start"
    """Its `model`, and the policy that it was."""
    pairs: int
    tokens: int
    """Of one pass over the pairs."""
    done: "Done"


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; goes on from where an earlier attempt has saved.

    Raises:
        TrainingError: in no game two episodes had different outcomes.
    """
    from agentprm_dagster.improvement.stored import Tokens, finish  # loads torch, as below
    from agentprm_dagster.reports.improvement_report import Learnt

    how: Settings = settings.improvement
    learnt = prefer_won(inputs, how, settings.dialogue.format, job)
    return finish(
        learnt.start,
        inputs,
        settings,
        out,
        learnt.done.history,
        planned=learnt.done.planned,
        learnt=Learnt(learnt.pairs, "pairs of episodes", "no game was both won and lost"),
        tokens=Tokens(how.epochs * learnt.tokens, besides=learnt.tokens),
        job=job,
    )


def prefer_won(inputs: Inputs, how: Settings, dialogue: "Format", job: "Job") -> Preferring:
    """Trains pi_(i-1) to prefer the won episodes of each game to the lost ones; nothing is written.

    Raises:
        TrainingError: in no game two episodes had different outcomes.
    """
    from agentprm_dagster.improvement.episode_pairs import episode_pairs
    from agentprm_dagster.improvement.stored import begin  # loads torch, as below
    from agentprm_dagster.improvement.stored_training import tokens_in, train_on_examples
    from agentprm_dagster.improvement.trajectory_dpo import examples, trajectory_work
    from agentprm_dagster.training.loop import TrainingError

    pairs = episode_pairs(inputs.episodes, how.per_game, job.seed)
    if not pairs:
        raise TrainingError(
            f"DPO on episodes compares a won and a lost episode of one game, and among {len(inputs.episodes)} "
            "there are no two such: play more of each game (rollouts.per_game, rollouts.branch_states)"
        )
    start = begin(inputs, job)
    read = examples(start, pairs, dialogue, job.compute.micro_batch_tokens)
    done = train_on_examples(start, read, how, how.batch_pairs, job, trajectory_work, how.beta)
    return Preferring(start, len(pairs), tokens_in(read), done)
