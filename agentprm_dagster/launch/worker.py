"""A process that plays shards of games, one after the other; several of them use several cores.

A small model gains nothing from a second thread and everything from a second process.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter

from agentprm_dagster.agents.oracle_world import OracleWorld, Transparent
from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine.base import Engine, Role
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.envs.base import Task, explain_in
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.engine_difference import EngineDifference
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.tables import iter_episodes, write_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.episodes.values import Values, write_values
from agentprm_dagster.launch.latest_model import LatestModel
from agentprm_dagster.launch.play import Lookahead, Play, Points, Valued
from agentprm_dagster.rollouts.collect import collect_rollouts
from agentprm_dagster.rollouts.placement import Placer, SpreadPlacer, disagreement, uncertainty
from agentprm_dagster.rollouts.rollout import Agent
from agentprm_dagster.rollouts.tried_out import try_out

if TYPE_CHECKING:
    from agentprm_dagster.agents.worlds import World
    from agentprm_dagster.engine.chat import Chat


@dataclass(frozen=True)
class Shard:
    """Some games of a play, under a seed of their own, and the folder for their episodes."""

    play: Play
    out: Path
    compared: bool = False
    """Whether the engine is held against transformers, on what it has played."""

    def keep(
        self, episodes: Sequence[Episode], values: Values, usage: Usage, difference: EngineDifference | None
    ) -> None:
        """Puts what was played into the shard's folder, in one step: it is there whole or not at all."""
        with self._unfinished() as folder:
            write_episodes(episodes, folder)
            if values:
                write_values(values, folder)
            (folder / USAGE).write_bytes(_USAGE.dump_json(usage))
            (folder / DIFFERENCE).write_bytes(_DIFFERENCE.dump_json(difference))

    def put(self, files: Mapping[str, bytes]) -> None:
        """The same for the files of a shard that was played elsewhere."""
        with self._unfinished() as folder:
            for name, content in files.items():
                (folder / Path(name).name).write_bytes(content)

    @contextmanager
    def _unfinished(self) -> Iterator[Path]:
        """A folder that becomes the shard's at the end of the block."""
        folder = self.out.with_suffix(".part")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        folder.rename(self.out)


_USAGE, _DIFFERENCE = TypeAdapter(Usage), TypeAdapter(EngineDifference | None)
USAGE, DIFFERENCE = "usage.json", "difference.json"
"""The files beside a shard's episodes that say what they took, and how far the engine is from transformers."""


def read_usage(folder: Path) -> Usage:
    """What playing a shard took."""
    return _USAGE.validate_json((folder / USAGE).read_bytes())


def read_difference(folder: Path) -> EngineDifference | None:
    """How far the engine that played a shard is from transformers; None where it was not compared."""
    return _DIFFERENCE.validate_json((folder / DIFFERENCE).read_bytes())


class Progress(NamedTuple):
    """How far the playing of a shard is."""

    done: int
    total: int
    what: str


def play_games(agent: Agent, play: Play, monitor: Monitor) -> list[Episode]:
    """The episodes of a play; `agent` is who plays, ready to answer."""
    how = play.how
    if play.points is not None:
        return _from_points(agent, play, play.points, monitor)
    return collect_rollouts(
        agent,
        _games(play),
        per_game=how.per_game,
        max_steps=how.max_steps,
        branch_states=how.branch_states,
        branch_actions=how.branch_actions,
        branch_continuations=how.branch_continuations,
        branch_temperature=how.branch_temperature,
        seed=play.seed,
        monitor=monitor,
        patience=how.patience,
        keep_candidates=play.dialogue == "restated",
        expert_starts=how.expert_starts,
        demonstrations=_won_by_game(play.demonstrations) if play.demonstrations else {},
        placer=_placer(play, agent.usage),
    )


def _from_points(agent: Agent, play: Play, points: Points, monitor: Monitor) -> list[Episode]:
    """What comes of several answers in the states that lie in the play's games."""
    how, games = play.how, {game.id: game for game in _games(play)}
    there = [each for each in iter_episodes(points.episodes) if each.game in games]
    return try_out(
        agent,
        [(episode, turn) for episode in there for turn in points.turns.get(episode.episode_id, ())],
        games,
        explain_in(kind_of(play.environment)),
        actions=how.branch_actions,
        continuations=how.branch_continuations,
        temperature=how.branch_temperature,
        max_steps=how.max_steps,
        patience=how.patience,
        keep_candidates=play.dialogue == "restated",
        seed=play.seed,
        monitor=monitor,
    )


def _games(play: Play) -> list[Task]:
    """The games as who plays may see them."""
    kind, ahead = kind_of(play.environment), play.choice.lookahead if play.choice else None
    playable = [kind.open(game) for game in play.games]
    return [Transparent(game) for game in playable] if ahead and ahead.world is None else playable


def _placer(play: Play, usage: Usage) -> Placer | None:
    """What places branches, None where they are uniform; what it reads goes to `usage`."""
    how = play.how
    if how.branch_placement == "uniform":
        return None
    if how.branch_placement == "spread" or play.placed_by is None:
        return SpreadPlacer()
    from agentprm_dagster.agents.value_placer import ValuePlacer  # loads torch

    return ValuePlacer(
        _judge(play.placed_by, "prm", play),
        _chat(play.policy, play.environment),
        disagreement if how.branch_placement == "disagreement" else uncertainty,
        dialogue=play.dialogue,
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


def ready(play: Play) -> Agent:
    """Who plays, as an agent; the models of the play before are kept where they are the same."""
    from agentprm_dagster.agents.best_of_n import BestOfN, LogRatioJudge, PrmJudge  # loads torch
    from agentprm_dagster.agents.lookahead import ModelPredictive
    from agentprm_dagster.agents.policy import Policy

    slots, choice, chat = play.how.slots, play.choice, _chat(play.policy, play.environment)
    ahead = choice.lookahead if choice else None
    spare = max(slots, choice.best_of) if choice and ahead else 0
    engine = _opened(_policy.load(play.policy, "policy", play.engine), play.engine, slots + spare)
    settings: dict[str, Any] = {
        "dialogue": play.dialogue,
        "slots": slots,
        "temperature": play.how.temperature,
        "max_new_tokens": play.how.max_new_tokens,
        "seed": play.seed,
    }
    if choice is None:
        return Policy(engine, chat, **settings)
    by_policy = choice.ranked_by == "log_ratio"
    read = _judge(choice.judge, "policy" if by_policy else "prm", play)
    judge = (LogRatioJudge if by_policy else PrmJudge)(read, chat, play.dialogue)
    settings |= {"n": choice.best_of, "prior": choice.prior}
    if ahead is None:
        return BestOfN(engine, chat, judge, **settings)
    world = _world(ahead, play, spare)
    return ModelPredictive(engine, chat, judge, world, turns=ahead.turns, gamma=ahead.gamma, at_once=spare, **settings)


_policy, _judging, _world_model = LatestModel(), LatestModel(), LatestModel()


def _judge(path: Path, role: Role, play: Play) -> Engine:
    return _opened(_judging.load(path, role, play.engine), play.engine, play.how.slots)


def _opened(model: Any, engine: AnyEngine, conversations: int) -> Engine:
    return engine_kind(engine.kind).open(model, engine, conversations=conversations)


def _world(ahead: Lookahead, play: Play, spare: int) -> "World":
    from agentprm_dagster.agents.learned_world import LearnedWorld

    if ahead.world is None:
        return OracleWorld()
    slots = play.how.slots
    engine = _opened(_world_model.load(ahead.world, "policy", play.engine), play.engine, slots + spare)
    chat = _chat(ahead.world, play.environment)
    return LearnedWorld(engine, chat, slots=slots, max_reply_tokens=ahead.max_reply_tokens)


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
        self.pipe.send(Progress(done, total, what))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Playing has none."""


def serve(pipe: Connection) -> None:
    """Receives with how many threads to play, and then shard after shard; None says that one is played."""
    import torch

    torch.set_num_threads(pipe.recv())
    while True:
        play_shard(pipe.recv(), _Messages(pipe))
        pipe.send(None)


def play_shard(shard: Shard, monitor: Monitor) -> None:
    """Plays a shard into its folder.

    Its agent is gone afterwards, so that the models of the next shard need not lie in memory beside its own.
    """
    agent = ready(shard.play)
    episodes = play_games(agent, shard.play, monitor)
    difference = _difference(shard.play, episodes) if shard.compared else None
    shard.keep(episodes, _values(shard.play, episodes), agent.usage, difference)


def _values(play: Play, episodes: Sequence[Episode]) -> Values:
    """What is said of those episodes that are read."""
    if play.valued_by is None:
        return {}
    read = {game.id for game in play.games[:: play.valued_by.every]}
    return values_of(play, play.valued_by, [episode for episode in episodes if episode.game in read])


def values_of(play: Play, by: Valued, episodes: Sequence[Episode]) -> Values:
    """What a PRM says of every turn of episodes of such a play; what it reads is no part of what playing took."""
    from agentprm_dagster.agents.turn_values import turn_values  # loads torch

    engine, chat = _judge(by.prm, "prm", play), _chat(by.prm, play.environment)
    return turn_values(
        engine, chat, episodes, dialogue=play.dialogue, slots=play.how.slots, observations=by.observations
    )


def _difference(play: Play, episodes: Sequence[Episode]) -> EngineDifference:
    from agentprm_dagster.engine.difference import ANSWERS, engine_difference  # loads torch

    engine = _opened(_policy.load(play.policy, "policy", play.engine), play.engine, ANSWERS)
    chat = _chat(play.policy, play.environment)
    return engine_difference(engine, play.policy, chat, episodes, play.dialogue, seed=play.seed)
