"""A process that plays shards of games, one after the other; several of them use several cores.

A small model gains nothing from a second thread and everything from a second process.
"""

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from agentprm_dagster.agents.oracle_world import OracleWorld, Transparent
from agentprm_dagster.config import Rollouts
from agentprm_dagster.config.experiment import AnyEngine
from agentprm_dagster.engine.base import Engine
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.envs.base import Task, TaskRef
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.tables import iter_episodes, write_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.rollouts.placement import Placer, SpreadPlacer, disagreement, uncertainty
from agentprm_dagster.rollouts.rollout import Agent, collect_rollouts

if TYPE_CHECKING:
    from agentprm_dagster.agents.worlds import World
    from agentprm_dagster.engine.chat import Chat


@dataclass(frozen=True)
class Lookahead:
    """How a player imagines what its answers lead to, before a PRM chooses."""

    world: Path | None
    """The world model; None: the game itself, the oracle."""
    turns: int
    """How many turns are imagined, the first answer's included."""
    gamma: float
    """Discount of the PRM's targets."""
    max_reply_tokens: int


@dataclass(frozen=True)
class Player:
    """Who plays, and how."""

    policy: Path
    environment: str
    """The kind of environment that the games are of."""
    dialogue: Format
    how: Rollouts
    """Episodes, branches, temperature and limits; `games` is not read here."""
    judge: Path | None = None
    """What chooses among `best_of` sampled answers; None: the policy answers alone."""
    judge_is_policy: bool = False
    """Whether the judge is the policy that this one was improved from, and no PRM."""
    best_of: int = 1
    prior: float = 0.0
    """Weight of the policy's log-probability beside what the judge says."""
    shown: Path | None = None
    """Tables of demonstrations, at whose states `how.expert_starts` of the episodes begin."""
    placed_by: Path | None = None
    """The PRM that says where branches are worth while; None: what the policy answers says it."""
    lookahead: Lookahead | None = None
    """None: the judge reads the answers, and nothing is imagined."""
    engine: AnyEngine = field(default_factory=engine_kind("embedded").Settings)
    """What computes the models."""

    def opened(self, games: Sequence[TaskRef]) -> list[Task]:
        """The games as this player may see them."""
        kind = kind_of(self.environment)
        playable = [kind.open(game) for game in games]
        shown = self.lookahead is not None and self.lookahead.world is None
        return [Transparent(game) for game in playable] if shown else [*playable]


@dataclass(frozen=True)
class Shard:
    """Games that are played together, their seed, and the folder for their episodes."""

    player: Player
    games: tuple[TaskRef, ...]
    seed: int
    out: Path

    def keep(self, episodes: Sequence[Episode], usage: Usage) -> None:
        """Puts what was played into the shard's folder, in one step: it is there whole or not at all."""
        unfinished = self.out.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        write_episodes(episodes, unfinished)
        (unfinished / USAGE).write_bytes(_USAGE.dump_json(usage))
        unfinished.rename(self.out)


_USAGE = TypeAdapter(Usage)
USAGE = "usage.json"
"""The file beside a shard's episodes that says what they took."""


def read_usage(folder: Path) -> Usage:
    """What playing a shard took."""
    return _USAGE.validate_json((folder / USAGE).read_bytes())


PLAYED = "played"
"""What a worker says when the episodes of a shard are in their folder."""


def play_shard(agent: Agent, games: Sequence[Task], player: Player, *, seed: int, monitor: Monitor) -> list[Episode]:
    """The episodes of one shard; `agent` is the player, ready to answer."""
    how = player.how
    return collect_rollouts(
        agent,
        games,
        per_game=how.per_game,
        max_steps=how.max_steps,
        branch_states=how.branch_states,
        branch_actions=how.branch_actions,
        branch_continuations=how.branch_continuations,
        branch_temperature=how.branch_temperature,
        seed=seed,
        monitor=monitor,
        patience=how.patience,
        keep_candidates=player.dialogue == "restated",
        expert_starts=how.expert_starts,
        shown=_won_by_game(player.shown) if player.shown else {},
        placer=_placer(player, agent.usage),
    )


def _placer(player: Player, usage: Usage) -> Placer | None:
    """What places branches, None where they are uniform; what it reads goes to `usage`."""
    how = player.how
    if how.branch_placement == "uniform":
        return None
    if how.branch_placement == "spread" or player.placed_by is None:
        return SpreadPlacer()
    from agentprm_dagster.agents.value_placer import ValuePlacer  # loads torch

    return ValuePlacer(
        _judge(player.placed_by, player.engine, is_policy=False, conversations=how.slots),
        _chat(player.policy, player.environment),
        disagreement if how.branch_placement == "disagreement" else uncertainty,
        dialogue=player.dialogue,
        usage=usage,
    )


@lru_cache(maxsize=1)
def _won_by_game(folder: Path) -> dict[str, list[Episode]]:
    """The won episodes of a folder's tables."""
    games: dict[str, list[Episode]] = defaultdict(list)
    for episode in iter_episodes(folder):
        if episode.won:
            games[episode.game].append(episode)
    return games


def ready(player: Player, seed: int) -> Agent:
    """The player as an agent; the models of the player before are kept where they are the same."""
    from agentprm_dagster.agents.best_of_n import BestOfN, LogRatioJudge, PrmJudge  # loads torch
    from agentprm_dagster.agents.lookahead import ModelPredictive
    from agentprm_dagster.agents.policy import Policy

    slots, chat = player.how.slots, _chat(player.policy, player.environment)
    lanes = max(slots, player.best_of) if player.lookahead else 0
    engine = _opened(_policy(player.policy, player.engine), player.engine, slots + lanes)
    settings: dict[str, Any] = {
        "dialogue": player.dialogue,
        "slots": slots,
        "temperature": player.how.temperature,
        "max_new_tokens": player.how.max_new_tokens,
        "seed": seed,
    }
    if player.judge is None:
        return Policy(engine, chat, **settings)
    kind = LogRatioJudge if player.judge_is_policy else PrmJudge
    read = _judge(player.judge, player.engine, is_policy=player.judge_is_policy, conversations=slots)
    judge = kind(read, chat, player.dialogue)
    settings |= {"n": player.best_of, "prior": player.prior}
    if player.lookahead is None:
        return BestOfN(engine, chat, judge, **settings)
    turns, gamma = player.lookahead.turns, player.lookahead.gamma
    world = _world(player.lookahead, player, lanes)
    return ModelPredictive(engine, chat, judge, world, turns=turns, gamma=gamma, lanes=lanes, **settings)


@lru_cache(maxsize=1)
def _policy(path: Path, engine: AnyEngine) -> Any:
    return engine_kind(engine.kind).load(path, "policy", engine)


@lru_cache(maxsize=1)
def _judging(path: Path, engine: AnyEngine, *, is_policy: bool) -> Any:
    return engine_kind(engine.kind).load(path, "policy" if is_policy else "prm", engine)


@lru_cache(maxsize=1)
def _world_model(path: Path, engine: AnyEngine) -> Any:
    return engine_kind(engine.kind).load(path, "policy", engine)


def _judge(path: Path, engine: AnyEngine, *, is_policy: bool, conversations: int) -> Engine:
    return _opened(_judging(path, engine, is_policy=is_policy), engine, conversations)


def _opened(model: Any, engine: AnyEngine, conversations: int) -> Engine:
    return engine_kind(engine.kind).open(model, engine, conversations=conversations)


def _world(lookahead: Lookahead, player: Player, lanes: int) -> "World":
    from agentprm_dagster.agents.learned_world import LearnedWorld

    if lookahead.world is None:
        return OracleWorld()
    slots = player.how.slots
    engine = _opened(_world_model(lookahead.world, player.engine), player.engine, slots + lanes)
    chat = _chat(lookahead.world, player.environment)
    return LearnedWorld(engine, chat, slots=slots, max_reply_tokens=lookahead.max_reply_tokens)


@lru_cache(maxsize=2)
def _chat(path: Path, environment: str) -> "Chat":
    """How dialogues are written for a checkpoint; what it has encoded is remembered."""
    from agentprm_dagster.engine import checkpoints
    from agentprm_dagster.engine.chat import Chat

    return Chat(checkpoints.load_tokenizer(path), kind_of(environment).wording)


@dataclass(frozen=True)
class _Messages:
    """A monitor that sends on what it hears."""

    pipe: Connection

    def progress(self, done: int, total: int, what: str) -> None:
        """Sent on."""
        self.pipe.send({"done": done, "total": total, "what": what})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Playing has none."""


def serve(pipe: Connection) -> None:
    """Receives with how many threads to play, and then shard after shard."""
    import torch

    torch.set_num_threads(pipe.recv())
    while True:
        shard: Shard = pipe.recv()
        games = shard.player.opened(shard.games)
        agent = ready(shard.player, shard.seed)
        episodes = play_shard(agent, games, shard.player, seed=shard.seed, monitor=_Messages(pipe))
        shard.keep(episodes, agent.usage)
        pipe.send(PLAYED)
