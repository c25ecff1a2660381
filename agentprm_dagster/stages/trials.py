"""One policy to be judged in one way: who plays which games, and the row of the table that comes of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from agentprm_dagster.config import Rollouts
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.launch.pool import Played, Task
from agentprm_dagster.launch.worker import Lookahead, Player
from agentprm_dagster.reports.evaluation import evaluation_row, folder_name
from agentprm_dagster.reports.results import Row


@dataclass(frozen=True)
class Judge:
    """What chooses among sampled answers."""

    ranked_by: str
    """`prm`, `inverse_prm`, or `log_ratio`."""
    path: Path
    """The reward model, or the policy before the one that is judged."""


@dataclass(frozen=True)
class Imagined:
    """What is imagined before a reward model chooses."""

    world: Literal["learned", "oracle"]
    model: Path | None
    """The world model; None: the oracle has none."""
    turns: int


@dataclass(frozen=True)
class Trial:
    """One policy to be judged in one way."""

    experiment: str
    environment: str
    """The kind of environment that is played."""
    settings: Any
    """`dialogue`, `engine`, `evaluation`, `rollouts.slots`, `rollouts.max_new_tokens`, and where something is imagined
    `targets.gamma` and `world_model.max_reply_tokens`, as an experiment has them."""
    iteration: int
    """Which pi_i."""
    policy: Path
    judge: Judge | None
    """None: the policy answers alone, as `best_of` 1 says."""
    split: str
    games: tuple[TaskRef, ...]
    """Those of the split that are played, once each."""
    max_steps: int
    best_of: int
    seed: int
    imagined: Imagined | None = None

    @property
    def name(self) -> str:
        """Names the trial among others of its experiment; fit for a folder."""
        return folder_name(self._how)

    @property
    def _how(self) -> dict[str, Any]:
        """What tells the trial from others, as the table's rows have it."""
        return {
            "ranked_by": self.judge.ranked_by if self.judge else None,
            "policy": f"pi_{self.iteration}",
            "split": self.split,
            "best_of": self.best_of,
            "imagined": self.imagined.world if self.imagined else None,
            "imagined_turns": self.imagined.turns if self.imagined else 0,
        }

    @property
    def task(self) -> Task:
        """What is to be played."""
        settings, rollouts = self.settings.evaluation, self.settings.rollouts
        how = Rollouts(
            per_game=1,
            branch_states=0,
            max_steps=self.max_steps,
            temperature=settings.temperature if self.judge is None else settings.best_of_temperature,
            slots=rollouts.slots,
            max_new_tokens=rollouts.max_new_tokens,
        )
        player = Player(self.policy, self.environment, self.settings.dialogue.format, how, engine=self.settings.engine)
        if self.judge is not None:
            player = replace(
                player,
                judge=self.judge.path,
                judge_is_policy=self.judge.ranked_by == "log_ratio",
                best_of=self.best_of,
                prior=settings.best_of_prior,
            )
        if self.imagined is not None:
            lookahead = Lookahead(
                self.imagined.model,
                self.imagined.turns,
                self.settings.targets.gamma,
                self.settings.world_model.max_reply_tokens,
            )
            player = replace(player, prior=settings.foresight.prior, lookahead=lookahead)
        return Task(self.name, player, self.games, self.seed)

    def row(self, played: Played) -> Row:
        """The row of the table for what was played."""
        return evaluation_row(
            played.episodes,
            experiment=self.experiment,
            iteration=self.iteration,
            max_steps=self.max_steps,
            seed=self.seed,
            tokens=played.usage.tokens,
            kinds=kind_of(self.environment).task_kinds,
            **self._how,
        )
