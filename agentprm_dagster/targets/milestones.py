"""Targets that also count milestones: how much of a task's goal an answer brings about, read from the game's state.

The potential Phi(s) is the share of the goal's conditions that hold (`envs.base.KnowsMilestones`), and what an answer
gains by it is F = gamma Phi(s') - Phi(s) (Ng, Harada and Russell 1999), or R - Phi(s) where it ends the game. Summed
up over an episode that ended, each F discounted, that is its return less Phi of its start: rewards that are shaped so
order whole episodes as their returns do. A target blends the mean return with what one answer gains, as process reward
shaping does, and so may prefer another answer than Q: that is what it is for where returns are few.

No agent sees the state that is read here, and no other stage reads it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from agentprm_dagster.envs.base import KnowsMilestones, TaskRef
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.targets.mc import compute as monte_carlo
from agentprm_dagster.targets.settings import TargetSettings

if TYPE_CHECKING:
    import pandas as pd

READS: tuple[str, ...] = ()
"""The assets that are read besides the rollouts."""
REPLAYS = True
"""Whether the games are played again."""


class Settings(TargetSettings):
    """Milestones beside returns."""

    kind: Literal["milestones"] = "milestones"
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Weight of what an answer gains, beside 1 - alpha for the return of the rollouts."""

    @property
    def of_returns(self) -> bool:
        """They are not: what is gained is no return."""
        return False

    def check(self, experiment: Any) -> None:
        """See the base."""
        name = experiment.environment.kind
        if not isinstance(kind_of(name), KnowsMilestones):
            raise ValueError(f"targets.kind: milestones reads the state of the game, and {name} tells no milestones")


def compute(
    rollouts: Path,
    settings: Settings,
    read: Mapping[str, Path],
    wording: Wording,
    seed: int,
    games: Sequence[TaskRef] = (),
) -> "pd.DataFrame":
    """The Monte-Carlo table with `advantage`, what each answer gains in [-1, 1], and as `target` the blend in [0, 1].

    Raises:
        ValueError: the games know no milestones, or are not those of the rollouts.
    """
    import numpy as np  # loads pandas

    from agentprm_dagster.algorithm.shaping import shaped_targets
    from agentprm_dagster.episodes.tables import iter_episodes

    targets = monte_carlo(rollouts, settings, read, wording, seed)
    by_id = {game.id: game for game in games}
    gained: dict[tuple[str, int], float] = {}
    for episode in iter_episodes(rollouts):
        if episode.game not in by_id:
            raise ValueError(f"{episode.episode_id} was played in {episode.game}, which is none of the games given")
        of_turns = gains(episode, potentials(episode, by_id[episode.game]), settings.gamma)
        gained.update({(episode.episode_id, t): gain for t, gain in enumerate(of_turns)})
    rows = zip(targets["episode_id"], targets["turn"], strict=True)
    return shaped_targets(targets, np.array([gained[row] for row in rows]), alpha=settings.alpha)


def potentials(episode: Episode, game: TaskRef) -> list[float]:
    """Phi before every turn of an episode and behind the last: it is played again.

    Raises:
        ValueError: its kind of environment tells no milestones.
        RuntimeError: the environment replies otherwise than the episode says.
    """
    kind = kind_of(game.environment)
    if not isinstance(kind, KnowsMilestones):
        raise ValueError(f"expected games that tell milestones, got {game.id} of {kind.name}")
    environment = kind.open(game).environment()
    environment.reset()
    found = [kind.progress(environment)]
    for turn in episode.turns:
        if (seen := environment.step(turn.action).text) != turn.observation:
            raise RuntimeError(
                f"game {game.id} does not replay: after {turn.action!r} expected {turn.observation!r}, got {seen!r}"
            )
        found.append(kind.progress(environment))
    return found


def gains(episode: Episode, potential: Sequence[float], gamma: float) -> list[float]:
    """F of every turn, from Phi before each and behind the last; what ends the game has its outcome for gamma Phi."""
    behind = [gamma * each for each in potential[1:]]
    if behind and not episode.truncated:
        behind[-1] = episode.reward
    return [after - before for before, after in zip(potential, behind, strict=False)]
