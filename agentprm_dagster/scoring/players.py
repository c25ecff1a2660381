"""What an agent is to whoever scores it, and the demonstrators as agents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from agentprm_dagster.engine.base import answer_seed
from agentprm_dagster.envs.base import Task
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.rollouts.demonstrations import demonstrate
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import Panel, Sha256
from agentprm_dagster.section import NotNegative, Section

AgentKind = Literal["policy", "checkpoint", "served", "expert", "python"]

Played = tuple[list[Episode], Usage]


class AgentRecord(Section):
    """Who an agent is, as its card says."""

    name: str
    kind: AgentKind
    digests: dict[str, Sha256] = Field(default_factory=dict)
    """sha256 of what decides what it does: weights, a source file, a policy's artifact and its PRM's."""
    parameters: NotNegative | None = None
    """How many numbers were trained; None where it has none or they are not known."""
    details: dict[str, str] = Field(default_factory=dict)
    """What else is known: experiment, iteration, server."""


class Player(Protocol):
    """An agent that plays games. It can be sent to another process."""

    @property
    def record(self) -> AgentRecord:
        """Who it is."""

    @property
    def draws(self) -> bool:
        """Whether another seed leads to other games."""

    @property
    def games_at_once(self) -> int:
        """How many games are handed to it at a time: of no more is the work lost when it is killed."""

    def play(self, games: Sequence[Task], *, seed: int, max_steps: int, monitor: Monitor) -> Played:
        """Plays each game once, from its start; the episodes, and what they took."""


@dataclass(frozen=True)
class ExpertPlayer:
    """A demonstrator of the environment."""

    record: AgentRecord
    environment: str
    name: str
    games_at_once: int = 16

    @property
    def draws(self) -> bool:
        """Whether it guesses: a walkthrough does not."""
        return self.name != "walkthrough"

    def play(self, games: Sequence[Task], *, seed: int, max_steps: int, monitor: Monitor) -> Played:
        """See `Player`. What it guesses is decided by the seed and the game."""
        kind, usage = kind_of(self.environment), Usage()
        episodes = []
        for done, game in enumerate(games, 1):
            with usage.environment():
                episode = demonstrate(
                    game,
                    kind,
                    episode_id=game.id,
                    expert=self.name,
                    max_steps=max_steps,
                    seed=answer_seed(seed, game.id, 0, 1),
                )
            episodes.append(episode)
            monitor.progress(done, len(games), "games")
        return episodes, usage


def expert_player(name: str, panel: Panel) -> ExpertPlayer:
    """A demonstrator of the panel's environment; ScoreError where it has no such."""
    experts = panel.kind.experts
    if name not in experts:
        known = ", ".join(f"expert:{each}" for each in experts)
        raise ScoreError(f"expected a demonstrator of {panel.environment}, one of {known}; got expert:{name}")
    record = AgentRecord(name=f"expert:{name}", kind="expert", details={"environment": panel.environment})
    return ExpertPlayer(record, panel.environment, name)
