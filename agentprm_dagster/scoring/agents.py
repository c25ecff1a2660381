"""From what a user writes for an agent to who plays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.scoring.card import EvaluationProtocol, Training
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.own import own_player
from agentprm_dagster.scoring.panel import Panel
from agentprm_dagster.scoring.players import AgentKind, Player, expert_player
from agentprm_dagster.scoring.policies import (
    PolicyPlayer,
    Wishes,
    checkpoint_player,
    policy_player,
    training_of,
    way_of_policy,
)
from agentprm_dagster.scoring.served import ServedPlayer, served_player

FORMS = "EXPERIMENT:pi_1, a checkpoint's folder, the URL of a server, expert:handcoded, path/to/file.py:Name, or a card"

POLICY = re.compile(r"(?P<experiment>[\w.-]+):pi_(?P<iteration>[0-9]{1,4})")


@dataclass(frozen=True)
class Agents:
    """One agent, or the same one trained under several seeds."""

    players: tuple[Player, ...]
    protocol: EvaluationProtocol
    """Without its seeds."""
    training: Training | None = None

    @property
    def here(self) -> bool:
        """Whether this very process has to play."""
        return any(isinstance(player, ServedPlayer) for player in self.players)

    @property
    def small(self) -> bool:
        """Whether every process may have one thread."""
        return all(not isinstance(player, PolicyPlayer) or player.embedded for player in self.players)


def experiment_of(agent: str) -> str | None:
    """The experiment that an agent names; None where it names none."""
    found = POLICY.fullmatch(agent)
    return found["experiment"] if found else None


def find_agents(named: Sequence[str], panel: Panel, wishes: Wishes, engine: AnyEngine, model: str | None) -> Agents:
    """Who plays.

    Raises:
        ScoreError: an agent is none of `FORMS`, has learnt from the panel's games, or several are not one agent under
            several seeds.
        ExperimentError, ArtifactError, CheckpointError: what is named is not there.
    """
    found = [_find(each, panel, wishes, engine, model) for each in named]
    protocols = {protocol.digest for _, protocol in found}
    origins = [_origin(each, player) for each, (player, _) in zip(named, found, strict=True)]
    if len(protocols) > 1 or any(origin != origins[0] for origin in origins):
        raise ScoreError(
            f"expected several agents to be one that was trained under several seeds, got {', '.join(named)}, which "
            "differ in kind, settings, code, size or how they are asked: score each by itself, and compare --against"
        )
    if len(set(named)) < len(named):
        raise ScoreError(f"expected each agent once, got {', '.join(named)}")
    policies = [(policy["experiment"], int(policy["iteration"])) for policy in map(POLICY.fullmatch, named) if policy]
    return Agents(tuple(player for player, _ in found), found[0][1], training_of(policies) if policies else None)


def _origin(agent: str, player: Player) -> tuple[AgentKind, object]:
    """What an agent shares with itself under another seed.

    Of a policy that is not its size: where a vocabulary is made from a seed's texts, it has a size of its own.
    """
    if found := POLICY.fullmatch(agent):
        return player.record.kind, way_of_policy(found["experiment"], int(found["iteration"]))
    return player.record.kind, player.record.parameters


def _find(
    agent: str, panel: Panel, wishes: Wishes, engine: AnyEngine, model: str | None
) -> tuple[Player, EvaluationProtocol]:
    if agent.startswith(("http://", "https://")):
        return served_player(agent, model, panel.environment, wishes)
    if wishes.llm:
        raise ScoreError(f"{agent} is behind no server: leave --set llm.{next(iter(wishes.llm))} out")
    if found := POLICY.fullmatch(agent):
        player, protocol = policy_player(found["experiment"], int(found["iteration"]), wishes, engine, panel)
        if player.how.environment != panel.environment:
            raise ScoreError(f"{agent} plays {player.how.environment}, and the panel's games are {panel.environment}'s")
        return player, protocol
    if Path(agent).is_dir():
        return checkpoint_player(Path(agent), panel.environment, wishes, engine, panel.cap)
    if wishes != Wishes():
        raise ScoreError(f"{agent} reads no prompt and samples nothing here: leave --prompt, --temperature, ... out")
    if agent.startswith("expert:"):
        return expert_player(agent.removeprefix("expert:"), panel), EvaluationProtocol()
    file, colon, name = agent.rpartition(":")
    if colon and file.endswith(".py"):
        return own_player(Path(file), name), EvaluationProtocol()
    raise ScoreError(f"{agent!r} is no agent: expected {FORMS}")
