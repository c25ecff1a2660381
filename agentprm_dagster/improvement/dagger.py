"""DAgger (Ross et al. 2011, arXiv 1011.0686): the policy imitates what the expert does where the policy has gone.

The expert plays the games of the rollouts by itself. Then it takes over behind turns of the policy's own whole episodes
(`rollouts.corrections`), and what it does there is learnt. No PRM is read.
"""

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentprm_dagster.envs.base import OrdersSearch
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.imitating import Imitation, imitate
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.rollouts.corrections import REFUSED, corrections
from agentprm_dagster.rollouts.demonstrations import collect_demonstrations, demonstrator
from agentprm_dagster.rollouts.likeliest_first import likeliest_first
from agentprm_dagster.section import Positive, Weight

if TYPE_CHECKING:
    from agentprm_dagster.launch.job import Job


class Settings(Imitation):
    """Supervised fine-tuning on an expert's corrections of the policy's episodes."""

    kind: Literal["dagger"] = "dagger"
    states_per_episode: Positive = 2
    """Turns of a won episode behind which the expert takes over, drawn uniformly."""
    states_of_lost: Positive = 4
    """The same of a lost one. Besides, it takes over behind the first two commands of an episode that were refused."""
    demonstrated: Weight = 0.5
    """How many demonstrations that look into the likeliest places first are learnt beside each correction; of a game at
    most one."""

    @property
    def sections(self) -> tuple[str, ...]:
        """See the base; the expert is that of the demonstrations."""
        return (*super().sections, "demonstrations")

    @property
    def conversations_per_game(self) -> int:
        """See the base."""
        return self.states_of_lost + REFUSED + 1

    def check(self, experiment: Any) -> None:
        """See the base."""
        kind = kind_of(experiment.environment.kind)
        if not isinstance(kind, OrdersSearch):
            raise ValueError(f"improvement.kind: dagger: {kind.name} does not know where to look first")
        if experiment.demonstrations.expert == "llm":
            raise ValueError("improvement.kind: dagger asks the environment's own expert, and expert: llm is none")


def improve(inputs: Inputs, settings: Any, out: Path, job: "Job") -> StageReport:
    """See `improvement.kinds.ImprovementKind`; goes on from where an earlier attempt has saved.

    Raises:
        TrainingError: there is nothing that the expert could correct.
    """
    from agentprm_dagster.reports.improvement_report import Learnt
    from agentprm_dagster.training.loop import TrainingError  # loads torch

    corrected, demonstrated = _learnt(inputs, settings, job)
    if not corrected:
        raise TrainingError(
            f"improvement.kind: dagger learns from what the expert does in the policy's episodes, and in none of "
            f"{len(inputs.episodes)} one won: explore more games (rollouts.games), or raise demonstrations.max_steps"
        )
    learnt = Learnt(len(corrected), "corrections", "the expert wins nowhere")
    return imitate(inputs, settings, out, job, [*corrected, *demonstrated], learnt)


def _learnt(inputs: Inputs, settings: Any, job: "Job") -> tuple[list[Episode], list[Episode]]:
    """The corrections, and the demonstrations beside them."""
    how, shows, kind = settings.improvement, settings.demonstrations, inputs.environment
    whole = [episode for episode in inputs.episodes if episode.parent is None]
    games = [inputs.games[name] for name in dict.fromkeys(episode.game for episode in whole)]
    keep = settings.dialogue.format == "restated"
    shown = collect_demonstrations(
        games,
        kind,
        expert=shows.expert or kind.experts[0],
        episodes=len(games),
        max_steps=shows.max_steps,
        seed=job.seed,
        monitor=job.monitor,
        keep_candidates=keep,
    )
    won = [episode for episode in shown if episode.won]
    corrected = corrections(
        whole,
        inputs.games,
        {episode.game: episode for episode in won},
        kind,
        states=how.states_per_episode,
        states_of_lost=how.states_of_lost,
        more_steps=shows.max_steps,
        seed=job.seed,
        monitor=job.monitor,
        keep_candidates=keep,
    )
    some = random.Random(job.seed).sample(won, min(len(won), round(how.demonstrated * len(corrected))))
    begin = demonstrator(kind, shows, keep_candidates=keep)
    return corrected, likeliest_first(some, games, kind, begin, copies=1, seed=job.seed, monitor=job.monitor)
