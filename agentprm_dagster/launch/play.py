"""Who plays which games, and how: one record, built by a stage and read as it is by the process that plays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentprm_dagster.config import Rollouts
from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.dialogue import Format


@dataclass(frozen=True)
class Lookahead:
    """What is predicted behind an answer before a PRM chooses."""

    world: Path | None
    """The world model; None: the game itself, the oracle."""
    turns: int
    """How many turns are predicted, the first answer's included."""
    gamma: float
    """Discount of the PRM's targets."""
    max_reply_tokens: int


@dataclass(frozen=True)
class Choice:
    """How one of several sampled answers is chosen."""

    ranked_by: str
    """`prm`, `inverse_prm`, or `log_ratio`."""
    judge: Path
    """The reward model, or for `log_ratio` the policy that this one was improved from."""
    best_of: int
    prior: float = 0.0
    """Weight of the policy's log-probability beside what the judge says."""
    lookahead: Lookahead | None = None
    """None: the judge reads the answers, and nothing is predicted."""


@dataclass(frozen=True)
class Valued:
    """Who says what every turn was worth, once the games are played."""

    prm: Path
    observations: bool
    """Whether it has learnt V(s'), and is read at the end of observations too."""
    every: int = 1
    """It reads the episodes of the first of so many games of a shard, of the next first, and so on."""


@dataclass(frozen=True)
class Points:
    """States along episodes, from which alone is played."""

    episodes: Path
    """Tables of episodes."""
    turns: Mapping[str, tuple[int, ...]]
    """By an episode's id, the turns before which its states are."""


@dataclass(frozen=True, kw_only=True)
class Play:
    """A policy, its games, and how it plays them."""

    policy: Path
    iteration: int
    """Which pi_i it is."""
    environment: str
    """The kind of environment that the games are of."""
    split: str
    games: tuple[TaskRef, ...]
    """Those of the split that are played."""
    dialogue: Format
    how: Rollouts
    """Episodes, branches, temperature and limits; `games` is not read here."""
    seed: int
    choice: Choice | None = None
    """None: the policy answers alone."""
    demonstrations: Path | None = None
    """Tables of demonstrations, at whose states `how.expert_starts` of the episodes begin."""
    placed_by: Path | None = None
    """The PRM that says where branches are worth while; None: what the policy answers says it."""
    valued_by: Valued | None = None
    """None: nobody, and there are no values."""
    points: Points | None = None
    """Where `how.branch_actions` answers are tried, `how.branch_continuations` times each, and nothing else is played
    (`rollouts.tried_out`); None: games are played from their starts."""
    engine: AnyEngine = field(default_factory=engine_kind("embedded").Settings)
    """What computes the models."""
